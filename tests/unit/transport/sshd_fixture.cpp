#include "sshd_fixture.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "base/format.hpp"

extern char** environ;

namespace diskdump::test {

namespace {

pid_t spawn_with_output(std::vector<std::string> const& argv, int out, int err) {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, out, 1);
  posix_spawn_file_actions_adddup2(&files, err, 2);
  std::vector<char*> words;
  for (auto const& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  pid_t pid = -1;
  int const failed = posix_spawnp(&pid, words[0], &files, nullptr, words.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  if (failed != 0) throw std::runtime_error("cannot start " + argv[0]);
  return pid;
}

std::string read_fd(int fd) {
  std::string text;
  char chunk[4096];
  for (;;) {
    auto const n = ::read(fd, chunk, sizeof chunk);
    if (n <= 0) return text;
    text.append(chunk, static_cast<std::size_t>(n));
  }
}

std::uint16_t free_port() {
  int const fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("no free port");
  }
  ::close(fd);
  return ntohs(address.sin_port);
}

// Made once: the keys of every fixture of this process.
struct fixture_keys {
  scratch_folder folder;
  fixture_keys() {
    for (auto const* name : {"host_ed25519", "id"}) {
      run_or_throw(
          {"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", folder.path(name)});
    }
  }
};

}  // namespace

scratch_folder::scratch_folder() {
  auto pattern = (std::filesystem::temp_directory_path() / "diskdump-test-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
  folder_ = pattern;
}

scratch_folder::~scratch_folder() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

std::string scratch_folder::path(std::string_view name) const {
  return name.empty() ? folder_.string() : (folder_ / name).string();
}

void scratch_folder::write(std::string_view name, std::string_view text, unsigned mode) const {
  std::ofstream(path(name), std::ios::binary) << text;
  ::chmod(path(name).c_str(), mode);
}

std::string scratch_folder::read(std::string_view name) const {
  std::ifstream in(path(name), std::ios::binary);
  std::stringstream all;
  all << in.rdbuf();
  return all.str();
}

std::string run_or_throw(std::vector<std::string> const& argv) {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
  auto const pid = spawn_with_output(argv, fds[1], fds[1]);
  ::close(fds[1]);
  auto output = read_fd(fds[0]);
  ::close(fds[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (status != 0) throw std::runtime_error(argv[0] + " failed: " + output);
  return output;
}

sshd_fixture::sshd_fixture(std::string_view extra) : port_(free_port()) {
  if (::access("/usr/sbin/sshd", X_OK) != 0) {
    throw std::runtime_error(
        "these tests need /usr/sbin/sshd: apt install openssh-server, or run ./bootstrap test");
  }
  if (::geteuid() == 0) ::mkdir("/run/sshd", 0755);
  static fixture_keys const keys;
  for (std::string const name : {"host_ed25519", "id"}) {
    folder_.write(name, keys.folder.read(name));
    folder_.write(name + ".pub", keys.folder.read(name + ".pub"));
  }
  folder_.write("authorized_keys", folder_.read("id.pub"));
  // First come, first served: what `extra` says wins.
  folder_.write(
      "sshd_config",
      format("{}\nPort {}\nListenAddress 127.0.0.1\nHostKey {}\n"
             "AuthorizedKeysFile {}\nPidFile none\nUsePAM no\n"
             "StrictModes no\nPermitRootLogin yes\n"
             "PasswordAuthentication no\n"
             "KbdInteractiveAuthentication no\n"
             "{}",
             extra, port_, folder_.path("host_ed25519"), folder_.path("authorized_keys"),
             extra.find("Subsystem") == std::string_view::npos ? "Subsystem sftp internal-sftp\n"
                                                               : ""));
  folder_.write("known_hosts", known_hosts_line());
  configure_client("");
  start();
}

sshd_fixture::~sshd_fixture() {
  if (pid_ > 0) {
    kill_sessions();
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  if (reader_.joinable()) reader_.join();
  if (errors_fd_ >= 0) ::close(errors_fd_);
}

void sshd_fixture::start() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
  pid_ = spawn_with_output({"/usr/sbin/sshd", "-D", "-e", "-f", folder_.path("sshd_config")},
                           fds[1], fds[1]);
  ::close(fds[1]);
  errors_fd_ = fds[0];
  // sshd says so once it listens; nothing has to be waited out.
  std::string said;
  char c = 0;
  while (said.find("Server listening on") == std::string::npos) {
    if (::read(errors_fd_, &c, 1) != 1) throw std::runtime_error("sshd did not start: " + said);
    said += c;
  }
  reader_ = std::thread([this] {
    char chunk[4096];
    for (;;) {
      auto const n = ::read(errors_fd_, chunk, sizeof chunk);
      if (n <= 0) return;
      std::lock_guard const lock(mutex_);
      log_.append(chunk, static_cast<std::size_t>(n));
    }
  });
}

ssh_options sshd_fixture::options(transport_choice transport) const {
  ssh_options options;
  options.port = port_;
  options.config_file = folder_.path("ssh_config");
  options.transport = transport;
  return options;
}

void sshd_fixture::configure_client(std::string_view text) const {
  folder_.write("ssh_config",
                format("{}\nHost *\n UserKnownHostsFile {}\n GlobalKnownHostsFile none\n"
                       " IdentityFile {}\n IdentitiesOnly yes\n IdentityAgent none\n",
                       text, folder_.path("known_hosts"), folder_.path("id")));
}

std::string sshd_fixture::known_hosts_line(std::string_view key_file) const {
  auto const line = folder_.read(std::string(key_file) + ".pub");
  return format("[127.0.0.1]:{} {}\n", port_, line.substr(0, line.find_last_not_of(" \n") + 1));
}

void sshd_fixture::kill_sessions() const { signal_sessions(SIGKILL); }

void sshd_fixture::freeze_sessions() const { signal_sessions(SIGSTOP); }

void sshd_fixture::signal_sessions(int number) const {
  std::ifstream children(format("/proc/{0}/task/{0}/children", pid_));
  for (pid_t child = 0; children >> child;) {
    // As an ordinary user the connection's own process is a child of that one. The commands are
    // left alone: their end would be reported before sshd's.
    std::vector<pid_t> meant{child};
    std::ifstream grandchildren(format("/proc/{0}/task/{0}/children", child));
    for (pid_t one = 0; grandchildren >> one;) {
      std::string name;
      std::ifstream(format("/proc/{}/comm", one)) >> name;
      if (name == "sshd" || name == "sshd-session") meant.push_back(one);
    }
    for (auto const one : meant) ::kill(one, number);
  }
}

std::string sshd_fixture::log() {
  std::lock_guard const lock(mutex_);
  return log_;
}

}  // namespace diskdump::test
