#include "store/store_error.hpp"

#include "io/io_errc.hpp"

namespace diskdump {

namespace {

std::string whole_cause(error const& failure) {
  auto const cause = failure.code().message();
  return failure.cause().empty() ? cause : cause + ": " + failure.cause();
}

}  // namespace

error as_cannot_read(error const& failure) {
  return error(store_errc::cannot_read, severity::permanent)
      .path(failure.path())
      .cause("manifests may be there; " + whole_cause(failure))
      .remedy("mount it, fix its permissions, or remove it if nothing is needed of it");
}

error as_cannot_write(error const& failure) {
  auto const remedy = failure.remedy().empty()
                          ? std::string("free space there or check its permissions and its disk")
                          : failure.remedy();
  bool const full = failure.code() == io_errc::no_space;
  return error(full ? store_errc::store_full : store_errc::cannot_write, severity::permanent)
      .path(failure.path())
      .cause(whole_cause(failure))
      .remedy(remedy);
}

error cannot_write(int errno_value, std::string_view what, std::string_view path) {
  return as_cannot_write(disk_error(errno_value, io_direction::write, what, path));
}

error as_store_error(std::exception_ptr failure) {
  try {
    std::rethrow_exception(failure);
  } catch (error const& known) {
    return known;
  } catch (...) {
    return error(store_errc::cannot_write, severity::permanent).cause(describe(failure));
  }
}

}  // namespace diskdump
