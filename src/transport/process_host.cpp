// This machine as a remote_host: commands are children of this process, files are written here.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/limits.hpp"
#include "transport/connect.hpp"
#include "transport/process_stream.hpp"

namespace diskdump {

namespace {

// Returns 0 or the errno of the first failure; leaves no file behind where it fails.
int write_new_file(std::string const& path, byte_view content) {
  int const fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return errno;
  int failed = ::fchmod(fd, 0600) == 0 ? 0 : errno;
  while (failed == 0 && !content.empty()) {
    auto const n = ::write(fd, content.data(), content.size());
    if (n >= 0) {
      content = content.subspan(static_cast<std::size_t>(n));
    } else if (errno != EINTR) {
      failed = errno;
    }
  }
  if (::close(fd) != 0 && failed == 0) failed = errno;
  if (failed != 0) ::unlink(path.c_str());
  return failed;
}

class process_host final : public remote_host {
 public:
  explicit process_host(connect_context context) : context_(std::move(context)) {}

  task<std::unique_ptr<stream>> exec(std::string command,
                                     std::size_t /*the pipe's size rules*/) override {
    child_command child;
    child.argv = {"sh", "-c", std::move(command)};
    co_return std::make_unique<process_stream>(context_.executor, context_.timers, std::move(child),
                                               "localhost");
  }

  task<bool> put_file(std::string path, byte_view content) override {
    int const failed =
        co_await offload(context_.blocking, [&] { return write_new_file(path, content); });
    if (failed != 0) {
      throw error(transport_errc::transfer_failed, severity::permanent)
          .host("localhost")
          .path(path)
          .cause(std::strerror(failed));
    }
    co_return true;
  }

  task<> close() override { co_return; }
  std::string description() const override { return "process"; }

 private:
  connect_context context_;
};

}  // namespace

std::unique_ptr<remote_host> open_local_host(connect_context context) {
  return std::make_unique<process_host>(std::move(context));
}

}  // namespace diskdump
