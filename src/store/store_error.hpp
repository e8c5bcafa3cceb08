// Turns failures of the file system into the store's own errors. Internal to src/store.
#pragma once

#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.hpp"
#include "store/block_store.hpp"

namespace diskdump {

// The same failure as cannot_write, or store_full where it is for want of room: path, cause and
// remedy stay. What throws cannot_write throws store_full as well.
[[nodiscard]] error as_cannot_write(error const& failure);

// Something of the store's cannot be looked at, so nobody knows what is in it: the same failure as
// cannot_read, with what can be done about it.
[[nodiscard]] error as_cannot_read(error const& failure);

// For a failed system call of our own on `path`.
[[nodiscard]] error cannot_write(int errno_value, std::string_view what, std::string_view path);

// What was thrown as an error of the store's; anything else as cannot_write.
[[nodiscard]] error as_store_error(std::exception_ptr failure);

// Runs `write`; an io error that it throws comes out as cannot_write, a store error as it is.
template <class Write>
decltype(auto) writing(Write&& write) {
  try {
    return std::forward<Write>(write)();
  } catch (error const& failure) {
    if (failure.code().category() == errc_category<store_errc>()) throw;
    throw as_cannot_write(failure);
  }
}

}  // namespace diskdump
