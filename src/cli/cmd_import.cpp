// import: an image that lies on this machine, through the same pipeline as a dump of localhost.
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "cli/commands.hpp"
#include "io/io_errc.hpp"
#include "io/unique_fd.hpp"

namespace diskdump {

namespace {

// The agent says the same, but only when a store may have been made for it.
void check_image(std::string const& path) {
  // Not blocking on a FIFO.
  unique_fd const file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) throw disk_error(errno, io_direction::open, "open", path);
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) throw disk_error(errno, io_direction::read, "stat", path);
  if (S_ISDIR(status.st_mode)) throw disk_error(EISDIR, io_direction::open, "open", path);
  if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) {
    throw error(io_errc::unsupported_type, severity::permanent)
        .path(path)
        .remedy("name a file or a block device");
  }
}

}  // namespace

exit_code run_verb(global_options const& global, import_arguments& arguments) {
  check_image(arguments.dump.targets.front().path);
  return run_verb(global, arguments.dump);
}

}  // namespace diskdump
