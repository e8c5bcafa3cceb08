#include "agent_driver.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "base/format.hpp"
#include "base/limits.hpp"

extern char** environ;

namespace diskdump {

namespace {

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif
#else
constexpr bool sanitized = false;
#endif

constexpr int patience_ms = sanitized ? 60'000 : 20'000;
constexpr uid_t nobody = 65534;

byte_vector file_content(std::string const& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE_MESSAGE(in.good(), "cannot read ", path);
  std::ostringstream text;
  text << in.rdbuf();
  auto const content = text.str();
  auto const bytes = as_bytes(content);
  return {bytes.begin(), bytes.end()};
}

void write_whole(int fd, byte_view bytes) {
  while (!bytes.empty()) {
    auto const written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw std::runtime_error("cannot feed the script");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

struct pipe_ends {
  int read_end = -1;
  int write_end = -1;
  pipe_ends() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    read_end = ends[0];
    write_end = ends[1];
  }
};

// Puts a pread() that fails in the place of Python's.
std::string failing_pread(std::string const& read_errno) {
  return format(
      "import os\n"
      "def fail_or_read(fd, count, offset, read=os.pread):\n"
      "  for sector in range(offset // 512, (offset + count + 511) // 512):\n"
      "    number = {}\n"
      "    if number: raise OSError(number, os.strerror(number))\n"
      "  return read(fd, count, offset)\n"
      "os.pread = fail_or_read\n",
      read_errno);
}

}  // namespace

bool sanitized_build() noexcept { return sanitized; }
std::string native_agent_path() { return DISKDUMP_TEST_AGENT; }
std::string fallback_path() { return DISKDUMP_TEST_FALLBACK; }

// ---- The child ----------------------------------------------------------------------------------

agent_process::agent_process(agent_kind kind, session_nonce const& nonce, agent_options options) {
  ::signal(SIGPIPE, SIG_IGN);  // an agent that is gone is an error of write()
  // Opened before the child gives up its rights: an ordinary user may not reach the build folder.
  auto const native_path = native_agent_path();
  auto const script = kind == agent_kind::python ? file_content(fallback_path()) : byte_vector();
  int const program = kind == agent_kind::native ? ::open(native_path.c_str(), O_RDONLY) : -1;
  if (kind == agent_kind::native) REQUIRE_MESSAGE(program >= 0, "no agent at ", native_path);

  std::vector<std::string> words;
  if (kind == agent_kind::native) {
    words = {native_path, "serve", nonce_hex(nonce)};
  } else {
    auto const python =
        ::access("/usr/bin/python3", X_OK) == 0 ? "/usr/bin/python3" : DISKDUMP_TEST_PYTHON;
    words = {python, "-I", "-c",
             (options.read_errno.empty() ? std::string() : failing_pread(options.read_errno)) +
                 format("import sys;exec(compile(sys.stdin.buffer.read({}),'agent','exec'))",
                        script.size()),
             nonce_hex(nonce)};
  }
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::vector<char*> envp;
  for (char** at = environ; *at != nullptr; ++at) {
    if (std::strncmp(*at, "DISKDUMP_", 9) != 0) envp.push_back(*at);
  }
  std::string no_uring = "DISKDUMP_NO_URING=1";
  if (options.without_uring) envp.push_back(no_uring.data());
  envp.push_back(nullptr);

  pipe_ends const in;
  pipe_ends const out;
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("fork");
  if (pid_ == 0) {
    // Another process than the test's from here on: nothing but system calls.
    ::dup2(in.read_end, 0);
    ::dup2(out.write_end, 1);
    if (options.as_nobody) {
      if (::setgroups(0, nullptr) != 0 || ::setgid(nobody) != 0 || ::setuid(nobody) != 0) {
        ::_exit(126);
      }
    }
    if (program >= 0) {
      ::fexecve(program, argv.data(), envp.data());
    } else {
      ::execvpe(argv[0], argv.data(), envp.data());
    }
    ::_exit(127);
  }
  ::close(in.read_end);
  ::close(out.write_end);
  if (program >= 0) ::close(program);
  to_agent_ = in.write_end;
  from_agent_ = out.read_end;
  write_whole(to_agent_, script);
  ::fcntl(to_agent_, F_SETFL, O_NONBLOCK);
  ::fcntl(from_agent_, F_SETFL, O_NONBLOCK);
}

agent_process::~agent_process() {
  close_input();
  close_output();
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
}

void agent_process::close_input() {
  if (to_agent_ >= 0) ::close(std::exchange(to_agent_, -1));
}

void agent_process::close_output() {
  if (from_agent_ >= 0) ::close(std::exchange(from_agent_, -1));
}

bool agent_process::exchange(byte_vector& output, byte_vector& input) {
  pollfd watched[2] = {{from_agent_, POLLIN, 0}, {to_agent_, POLLOUT, 0}};
  bool const writing = !output.empty() && to_agent_ >= 0;
  if (::poll(watched, writing ? 2 : 1, patience_ms) == 0) {
    throw std::runtime_error("the agent says nothing");
  }
  if (writing && watched[1].revents != 0) {
    auto const written = ::write(to_agent_, output.data(), output.size());
    if (written > 0) {
      output.erase(output.begin(), output.begin() + written);
    } else if (errno == EPIPE) {
      output.clear();
    }
  }
  if (watched[0].revents == 0) return true;
  input.resize(1 << 20);
  auto const got = ::read(from_agent_, input.data(), input.size());
  input.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return got != 0;
}

int agent_process::wait() {
  auto const deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(patience_ms);
  for (;;) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }
    if (std::chrono::steady_clock::now() > deadline) {
      throw std::runtime_error("the agent lives on");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

std::uint64_t agent_process::peak_rss_bytes() const {
  std::ifstream in(format("/proc/{}/status", pid_));
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("VmHWM:", 0) == 0) return std::stoull(line.substr(6)) * limits::KiB;
  }
  return 0;
}

std::chrono::milliseconds agent_process::cpu_time() const {
  std::ifstream in(format("/proc/{}/stat", pid_));
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  std::istringstream fields(text.substr(text.rfind(')') + 2));
  std::string skipped;
  std::uint64_t user = 0;
  std::uint64_t system = 0;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  fields >> user >> system;
  return std::chrono::milliseconds((user + system) * 1000 /
                                   static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK)));
}

// ---- The server ---------------------------------------------------------------------------------

namespace {

session_nonce test_nonce() {
  session_nonce nonce;
  for (std::size_t i = 0; i < nonce.size(); ++i) nonce[i] = static_cast<std::byte>(0xa0 + i);
  return nonce;
}

}  // namespace

server_script::server_script(agent_kind kind, start_message start, server_hooks hooks,
                             agent_options options)
    : session(test_nonce(), std::move(start)),
      agent(kind, test_nonce(), options),
      hooks_(std::move(hooks)) {}

void server_script::on_digests(digests_message const& m) {
  ++record.digests_messages;
  auto at = m.first;
  std::vector<verdict> verdicts;
  for (auto const& run : m.runs) {
    if (run.kind == run_kind::data) {
      record.ids.emplace(at.value, run.id);
      verdicts.push_back(hooks_.decide ? hooks_.decide(at, run.id) : verdict::need);
      if (verdicts.back() == verdict::wait) waiting.push_back(at);
    } else if (run.kind == run_kind::expected) {
      record.ids.emplace(at.value, run.id);
      ++record.expected_blocks;
    } else {
      (run.kind == run_kind::hole ? record.hole_blocks : record.zero_blocks) += run.blocks.value;
    }
    at += run.blocks;
  }
  if (!verdicts.empty()) session.answer(verdicts);
}

void server_script::on_block(block_received& m) {
  ++record.codecs[m.codec];
  record.payload_bytes += m.payload.size();
  if (!hooks_.check_blocks) return;
  byte_vector raw(m.raw_bytes);
  decompressor_.decompress(m.codec, m.payload, raw);
  CHECK(sha256(raw) == m.id);
  if (hooks_.keep_blocks) record.blocks.emplace(m.index.value, std::move(raw));
}

void server_script::tell_expected() {
  auto const& ids = hooks_.expected;
  auto const from = std::max(session.expected_from(), session.expected_until());
  auto const until = std::min<std::uint64_t>(ids.size(), from.value + session.expected_room());
  if (!session.has_started() || from.value >= until) return;
  session.expect(from, std::span(ids).subspan(from.value, until - from.value));
}

void server_script::react(server_session::event& event) {
  if (auto const* const hello = std::get_if<hello_message>(&event)) {
    record.hello = *hello;
    session.start();
  } else if (auto const* const source = std::get_if<source_message>(&event)) {
    record.source = *source;
  } else if (auto const* const digests = std::get_if<digests_message>(&event)) {
    on_digests(*digests);
  } else if (auto* const block = std::get_if<block_received>(&event)) {
    on_block(*block);
  } else if (auto const* const note = std::get_if<note_message>(&event)) {
    record.notes.push_back(*note);
  } else if (auto const* const bad = std::get_if<bad_range_message>(&event)) {
    record.bad_ranges.push_back(*bad);
  } else if (auto const* const end = std::get_if<ended>(&event)) {
    record.end = end->totals;
    record.peak_rss_bytes = agent.peak_rss_bytes();
    session.finish();
  }
  if (hooks_.after) hooks_.after(*this, event);
}

dump_record server_script::run() {
  auto const began = std::chrono::steady_clock::now();
  byte_vector output;
  byte_vector input;
  bool open = true;
  while (open && !hang_up) {
    tell_expected();
    append_bytes(output, std::exchange(raw_output, {}));
    append_bytes(output, session.take_output());
    input.clear();
    open = agent.exchange(output, input);
    if (!record.failure.empty()) continue;  // only its end is of interest any more
    try {
      byte_view fresh(input);
      while (auto event = session.feed(fresh)) react(*event);
      if (!open) session.feed_eof();
    } catch (error const& e) {
      record.failure = e.what();
      record.failure_code = e.code();
      record.failure_offset = e.offset();
    }
  }
  agent.close_input();
  if (hang_up) agent.close_output();
  record.exit_status = agent.wait();
  record.elapsed = std::chrono::steady_clock::now() - began;
  return std::move(record);
}

start_message small_start(std::string path, std::uint32_t batch_blocks) {
  start_message start;
  start.path = std::move(path);
  start.block_bytes = small_block;
  start.batch_blocks = batch_blocks;
  return start;
}

dump_record run_dump(agent_kind kind, start_message start, server_hooks hooks,
                     agent_options options) {
  return server_script(kind, std::move(start), std::move(hooks), options).run();
}

// ---- Content ------------------------------------------------------------------------------------

scratch_folder::scratch_folder() {
  auto name = (std::filesystem::temp_directory_path() / "diskdump-agent-test-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
  folder_ = name;
}

scratch_folder::~scratch_folder() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

std::string scratch_folder::file(std::string const& name, byte_view content) const {
  auto const at = path(name);
  std::ofstream out(at, std::ios::binary);
  out.write(reinterpret_cast<char const*>(content.data()),
            static_cast<std::streamsize>(content.size()));
  REQUIRE(out.good());
  return at;
}

byte_vector random_bytes(std::size_t count, std::uint64_t seed) {
  byte_vector bytes(count);
  std::uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;
  for (auto& b : bytes) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    b = static_cast<std::byte>(x >> 24);
  }
  return bytes;
}

byte_vector text_bytes(std::size_t count, std::uint64_t seed) {
  byte_vector bytes;
  bytes.reserve(count + 32);
  for (std::uint64_t line = 0; bytes.size() < count; ++line) {
    append_bytes(bytes, as_bytes(format("line {} of text number {}\n", line, seed)));
  }
  bytes.resize(count);
  return bytes;
}

void check_complete(dump_record const& record, byte_view image, std::uint32_t block_bytes) {
  CHECK_MESSAGE(record.failure.empty(), record.failure);
  CHECK(record.exit_status == 0);
  REQUIRE(record.source.has_value());
  CHECK(record.source->image_bytes == image.size());
  REQUIRE(record.end.has_value());
  block_geometry const geometry{image.size(), block_bytes};
  CHECK(record.end->blocks == geometry.blocks());
  std::size_t wrong = 0;
  std::uint64_t zeros = 0;
  for (block_index i; i.value < geometry.blocks().value; ++i) {
    auto const block = image.subspan(geometry.offset_bytes(i), geometry.length_bytes(i));
    auto const announced = record.ids.find(i.value);
    if (is_zero(block)) {
      ++zeros;
      wrong += announced != record.ids.end();
      continue;
    }
    wrong += announced == record.ids.end() || announced->second != sha256(block);
    auto const sent = record.blocks.find(i.value);
    wrong += sent != record.blocks.end() &&
             !std::equal(sent->second.begin(), sent->second.end(), block.begin(), block.end());
  }
  CHECK(wrong == 0);
  CHECK(record.zero_blocks + record.hole_blocks == zeros);
  CHECK(record.end->zero_blocks.value == zeros);
  CHECK(record.end->data_blocks.value == record.ids.size());
}

}  // namespace diskdump
