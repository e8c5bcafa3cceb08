// A rename that never replaces, also where the file system does not know it by itself. Blocking;
// any thread. Both paths as the system's calls take them: below the directory `at`, or AT_FDCWD.
#pragma once

namespace diskdump {

// 0, or the errno: EEXIST where `to` exists. Where neither a rename without replacing nor a hard
// link can be had it is that of the link (EPERM, ENOTSUP or ENOSYS).
[[nodiscard]] int rename_noreplace_at(int at, char const* from, char const* to) noexcept;

// The same for a name that may show an empty file for a moment, which is what such a file system
// costs. Not for what others look for while it appears.
[[nodiscard]] int rename_over_placeholder_at(int at, char const* from, char const* to) noexcept;

}  // namespace diskdump
