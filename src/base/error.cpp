#include "base/error.hpp"

#include <cerrno>
#include <string>

#include "base/format.hpp"

namespace diskdump {

error::error(std::error_code code, severity kind) : code_(code), kind_(kind) { compose(); }

error& error::host(std::string_view value) {
  host_ = value;
  compose();
  return *this;
}
error& error::path(std::string_view value) {
  path_ = value;
  compose();
  return *this;
}
error& error::offset(std::uint64_t offset_bytes) {
  offset_bytes_ = offset_bytes;
  compose();
  return *this;
}
error& error::cause(std::string_view value) {
  cause_ = value;
  compose();
  return *this;
}
error& error::remedy(std::string_view value) {
  remedy_ = value;
  compose();
  return *this;
}

void error::compose() {
  text_.clear();
  if (!host_.empty()) text_ += host_ + ": ";
  if (!path_.empty()) text_ += path_ + ": ";
  if (offset_bytes_) text_ += format("offset {}: ", *offset_bytes_);
  text_ += code_.message();
  if (!cause_.empty()) text_ += ": " + cause_;
  if (!remedy_.empty()) text_ += " (" + remedy_ + ")";
}

error errno_error(int errno_value, std::string_view what_was_tried) {
  auto kind = severity::permanent;
  switch (errno_value) {
    case EINTR:
    case EAGAIN:
    case ETIMEDOUT:
    case ECONNRESET:
    case ECONNREFUSED:
    case ECONNABORTED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EPIPE:
      kind = severity::transient;
      break;
    default:
      break;
  }
  return error(std::error_code(errno_value, std::generic_category()), kind).cause(what_was_tried);
}

std::string describe(std::exception_ptr failure) {
  try {
    std::rethrow_exception(std::move(failure));
  } catch (std::exception const& e) {
    return e.what();
  } catch (...) {
    return "unknown failure";
  }
}

severity severity_of(std::exception_ptr failure) noexcept {
  try {
    std::rethrow_exception(std::move(failure));
  } catch (error const& e) {
    return e.kind();
  } catch (std::system_error const& e) {
    // Only these count in errno values; Asio's is known by its name, as base does not know Asio.
    std::string_view const category = e.code().category().name();
    bool const system = category == "system" || category == "generic" || category == "asio.system";
    return system ? errno_error(e.code().value(), "").kind() : severity::permanent;
  } catch (...) {
    return severity::permanent;
  }
}

}  // namespace diskdump
