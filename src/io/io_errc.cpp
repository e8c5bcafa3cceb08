#include "io/io_errc.hpp"

#include <cerrno>
#include <system_error>

#include "base/format.hpp"

namespace diskdump {

std::string_view sentence(io_errc e) noexcept {
  switch (e) {
    case io_errc::not_found:
      return "no such file or device";
    case io_errc::no_permission:
      return "no permission";
    case io_errc::is_directory:
      return "is a directory";
    case io_errc::unsupported_type:
      return "is neither a block device nor a regular file";
    case io_errc::in_use:
      return "the device is in use";
    case io_errc::already_exists:
      return "exists already";
    case io_errc::no_medium:
      return "the device has no medium or is not set up";
    case io_errc::read_failed:
      return "cannot read";
    case io_errc::write_failed:
      return "cannot write";
    case io_errc::no_space:
      return "no space left";
    case io_errc::read_only:
      return "is read-only";
    case io_errc::out_of_range:
      return "beyond the end of the device";
    case io_errc::ring_failed:
      return "io_uring could not be set up";
    case io_errc::medium_failed:
      return "cannot read";
  }
  return "unknown input/output error";
}

namespace {

struct meaning {
  io_errc code;
  severity kind;
  char const* remedy;
};

meaning meaning_of(int errno_value, io_direction direction) {
  auto const failed =
      direction == io_direction::write ? io_errc::write_failed : io_errc::read_failed;
  switch (errno_value) {
    case ENOENT:
    case ENOTDIR:
      return {io_errc::not_found, severity::permanent, "check the path"};
    case EACCES:
    case EPERM:
      return {io_errc::no_permission, severity::permanent,
              "run it as root, or with --sudo for a remote target"};
    case EISDIR:
      return {io_errc::is_directory, severity::permanent, "name a block device or a file"};
    case EEXIST:
      return {io_errc::already_exists, severity::permanent, "choose another name or remove it"};
    case EBUSY:
      return {io_errc::in_use, severity::permanent, "unmount it and end what uses it"};
    case ENXIO:
    case ENODEV:
    case ENOMEDIUM:
      return {io_errc::no_medium, severity::permanent, ""};
    case EDQUOT:
    case ENOSPC:
      // On a write to a device, ENOSPC is its end; the callers that know the size say so before.
      return {io_errc::no_space, severity::permanent, "make room and run it again"};
    case EROFS:
      return {io_errc::read_only, severity::permanent, ""};
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return {failed, severity::transient, ""};
    case EIO:
    // What block devices say of a bad sector, of a target's error and of a protection checksum.
    case ENODATA:
    case EREMOTEIO:
    case EILSEQ:
    // EFSBADCRC and EFSCORRUPTED of file systems.
    case EBADMSG:
    case EUCLEAN:
      if (direction == io_direction::write) return {failed, severity::permanent, ""};
      return {io_errc::medium_failed, severity::permanent, ""};
    default:
      return {failed, severity::permanent, ""};
  }
}

}  // namespace

error disk_error(int errno_value, io_direction direction, std::string_view what,
                 std::string_view path) {
  auto const m = meaning_of(errno_value, direction);
  auto failure = error(m.code, m.kind);
  failure.path(path).cause(format("{}: {}", what, std::generic_category().message(errno_value)));
  if (m.remedy[0] != '\0') failure.remedy(m.remedy);
  return failure;
}

bool is_medium_error(error const& failure) noexcept {
  return failure.code() == io_errc::medium_failed;
}

}  // namespace diskdump
