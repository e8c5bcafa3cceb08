#include "store/pack_window.hpp"

#include <algorithm>

#include "io/io_errc.hpp"

namespace diskdump {

// What is asked for may be whole where what is read beside it is not.
std::optional<byte_vector> pack_window::read(std::uint64_t offset_bytes, std::size_t bytes,
                                             std::size_t ahead_bytes) {
  if (ahead_bytes > bytes && offset_bytes >= not_ahead_until_) {
    try {
      return files_.read(path_, ahead_bytes, offset_bytes);
    } catch (error const& failure) {
      if (!is_medium_error(failure)) throw;
      not_ahead_until_ = offset_bytes + ahead_bytes;
    }
  }
  return files_.read(path_, bytes, offset_bytes);
}

byte_view pack_window::view(std::uint64_t offset_bytes, std::size_t bytes,
                            std::size_t ahead_bytes) {
  bool const inside =
      offset_bytes >= begin_ && offset_bytes + bytes <= begin_ + bytes_.size() && !bytes_.empty();
  if (!inside) {
    free_memory(bytes_);  // two of them are not needed
    begin_ = offset_bytes;
    if (auto found = read(offset_bytes, bytes, ahead_bytes)) bytes_ = std::move(*found);
  }
  auto const at = static_cast<std::size_t>(offset_bytes - begin_);
  return byte_view(bytes_).subspan(at, std::min(bytes, bytes_.size() - at));
}

bool pack_window::exists() { return files_.read(path_, 0).has_value(); }

}  // namespace diskdump
