#include "store/pack_window.hpp"

#include <algorithm>

namespace diskdump {

byte_view pack_window::view(std::uint64_t offset_bytes, std::size_t bytes,
                            std::size_t ahead_bytes) {
  bool const inside =
      offset_bytes >= begin_ && offset_bytes + bytes <= begin_ + bytes_.size() && !bytes_.empty();
  if (!inside) {
    auto found = files_.read(path_, std::max(bytes, ahead_bytes), offset_bytes);
    begin_ = offset_bytes;
    bytes_ = found ? std::move(*found) : byte_vector();
  }
  auto const at = static_cast<std::size_t>(offset_bytes - begin_);
  return byte_view(bytes_).subspan(at, std::min(bytes, bytes_.size() - at));
}

bool pack_window::exists() { return files_.read(path_, 0).has_value(); }

}  // namespace diskdump
