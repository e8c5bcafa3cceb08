#include "agent/agent_errc.hpp"

#include <cerrno>
#include <new>

#include "base/limits.hpp"
#include "io/io_errc.hpp"
#include "wire/wire_errc.hpp"

namespace diskdump {

std::string_view sentence(agent_errc e) noexcept {
  switch (e) {
    case agent_errc::read_failed:
      return "cannot read the source";
    case agent_errc::bad_sectors:
      return "sectors cannot be read";
    case agent_errc::source_shrank:
      return "the source became shorter while it was read";
    case agent_errc::bad_descriptor:
      return "stdin and stdout must be pipes or sockets";
  }
  return "unknown agent error";
}

namespace {

struct named_code {
  abort_code code;
  int errno_value;
};

named_code code_of(std::error_code code) noexcept {
  if (code.category() == errc_category<agent_errc>()) {
    if (code == agent_errc::source_shrank) return {abort_code::source_shrank, 0};
    if (code == agent_errc::bad_descriptor) return {abort_code::internal, 0};
    return {abort_code::read_failed, EIO};
  }
  if (code.category() == errc_category<io_errc>()) {
    switch (static_cast<io_errc>(code.value())) {
      case io_errc::not_found:
        return {abort_code::cannot_open, ENOENT};
      case io_errc::no_permission:
        return {abort_code::cannot_open, EACCES};
      case io_errc::is_directory:
        return {abort_code::cannot_open, EISDIR};
      case io_errc::unsupported_type:
        return {abort_code::cannot_open, ENOTBLK};
      case io_errc::in_use:
        return {abort_code::cannot_open, EBUSY};
      case io_errc::no_medium:
        return {abort_code::cannot_open, ENOMEDIUM};
      case io_errc::medium_failed:
      case io_errc::read_failed:
        return {abort_code::read_failed, EIO};
      default:
        return {abort_code::internal, 0};
    }
  }
  if (code.category() == errc_category<wire_errc>()) {
    // Our own session refuses to report more bad ranges than the server would take.
    if (code == wire_errc::too_much_talk) return {abort_code::read_failed, EIO};
    return {abort_code::protocol, 0};
  }
  return {abort_code::internal, code.category() == std::generic_category() ? code.value() : 0};
}

}  // namespace

abort_message abort_for(std::exception_ptr failure) {
  abort_message m;
  try {
    std::rethrow_exception(failure);
  } catch (error const& e) {
    auto const named = code_of(e.code());
    m.code = named.code;
    m.errno_value = static_cast<std::uint32_t>(named.errno_value);
    if (e.offset()) m.offset_bytes = *e.offset();
    m.text = e.code().message();
    if (!e.cause().empty()) m.text += ": " + e.cause();
  } catch (std::bad_alloc const&) {
    m.errno_value = ENOMEM;
    m.text = "out of memory";
  } catch (...) {
    m.text = describe(failure);
  }
  if (m.text.size() > limits::note_bytes_max) m.text.resize(limits::note_bytes_max);
  return m;
}

}  // namespace diskdump
