#include "store/pack_scan.hpp"

#include "base/limits.hpp"
#include "codec/checksum.hpp"
#include "store/pack_format.hpp"
#include "store/pack_window.hpp"
#include "store/pack_writer.hpp"

namespace diskdump {

void scan_pack(file_system& files, store_layout const& layout, std::uint32_t number,
               std::function<void(stored_block const&)> const& each) {
  pack_window pack(files, pack_path(layout, number));
  // Without a look at the pack's own header: it tells nothing about the blocks.
  for (std::uint64_t at = limits::pack_header_bytes;;) {
    auto const header = pack.view(at, limits::pack_entry_header_bytes, limits::pack_read_bytes);
    if (header.size() < limits::pack_entry_header_bytes || at > UINT32_MAX) return;
    auto const entry = decode_pack_entry(header);
    if (entry) {
      auto const whole_bytes = limits::pack_entry_header_bytes + entry->stored_bytes;
      auto const bytes = pack.view(at, whole_bytes, limits::pack_read_bytes);
      if (bytes.size() == whole_bytes &&
          checksum64(bytes.subspan(limits::pack_entry_header_bytes)) == entry->checksum) {
        each({entry->id, entry->stored_bytes, {number, static_cast<std::uint32_t>(at)}});
        at += whole_bytes;
        continue;
      }
    }
    // Damaged: on to the next place that looks like an entry. Overlapping by a header, since one
    // may begin just before the end of what was read.
    auto const rest = pack.view(at, limits::pack_read_bytes, limits::pack_read_bytes);
    auto const found = find_pack_entry(rest, 1);
    if (found < rest.size()) {
      at += found;
    } else if (rest.size() < limits::pack_read_bytes) {
      return;
    } else {
      at += rest.size() - limits::pack_entry_header_bytes;
    }
  }
}

}  // namespace diskdump
