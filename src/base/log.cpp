#include "base/log.hpp"

#include "base/format.hpp"

namespace diskdump {

std::string printable(std::string_view text, std::size_t bytes_max) {
  std::string out;
  bool const cut = text.size() > bytes_max;
  for (unsigned char const c : text.substr(0, bytes_max)) {
    // Bytes ≥ 0x80 may be UTF-8, but C1 controls are encoded there too: shown as escapes.
    if (c >= 0x20 && c < 0x7f) {
      out += static_cast<char>(c);
    } else if (c == '\n' || c == '\t') {
      out += ' ';
    } else {
      out += format("\\x{:02x}", c);
    }
  }
  if (cut) out += "…";
  return out;
}

}  // namespace diskdump
