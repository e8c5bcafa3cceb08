#include "io/rename_noreplace.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "io/unique_fd.hpp"

namespace diskdump {

int rename_noreplace_at(int at, char const* from, char const* to) noexcept {
  if (::renameat2(at, from, at, to, RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
  // NFS and some others lack the flag; a link does not replace either.
  if (::linkat(at, from, at, to, 0) != 0) return errno;
  return ::unlinkat(at, from, 0) == 0 ? 0 : errno;
}

int rename_over_placeholder_at(int at, char const* from, char const* to) noexcept {
  int const failed = rename_noreplace_at(at, from, to);
  if (failed != EPERM && failed != ENOTSUP && failed != ENOSYS) return failed;
  // exFAT through FUSE has no links. Whoever makes the file first owns the name.
  unique_fd const mine(::openat(at, to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!mine) return errno;
  if (::renameat(at, from, at, to) == 0) return 0;
  int const why = errno;
  (void)::unlinkat(at, to, 0);
  return why;
}

}  // namespace diskdump
