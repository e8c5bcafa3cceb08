#include "store/pack_scan.hpp"

#include <algorithm>
#include <optional>

#include "base/limits.hpp"
#include "codec/checksum.hpp"
#include "io/io_errc.hpp"
#include "store/pack_format.hpp"
#include "store/pack_window.hpp"
#include "store/pack_writer.hpp"

namespace diskdump {

namespace {

// What the kernel reads, and gives up, at once.
constexpr std::uint64_t page_bytes = 4096;

class pack_scan {
 public:
  pack_scan(file_system& files, store_layout const& layout, std::uint32_t number)
      : pack_(files, pack_path(layout, number)), number_(number) {}

  void run(std::function<void(stored_block const&)> const& each);

 private:
  // nullopt where a bad sector is among them.
  [[nodiscard]] std::optional<byte_view> look(std::uint64_t at, std::size_t bytes) {
    try {
      return pack_.view(at, bytes, limits::pack_read_bytes);
    } catch (error const& failure) {
      if (!is_medium_error(failure)) throw;
      return std::nullopt;
    }
  }
  [[nodiscard]] std::optional<std::uint64_t> next_after(std::uint64_t at);

  pack_window pack_;
  std::uint32_t number_;
  std::uint64_t by_page_until_ = 0;  // a bad sector lies before it
};

// The next place after `at` that looks like an entry, or where to look on for
// one; nullopt at the end of the pack.
std::optional<std::uint64_t> pack_scan::next_after(std::uint64_t at) {
  std::size_t wanted_bytes = limits::pack_read_bytes;
  // Overlapping by a header, since one may begin just before the end of what
  // was read.
  auto past = wanted_bytes - limits::pack_entry_header_bytes;
  auto rest = at < by_page_until_ ? std::nullopt : look(at, wanted_bytes);
  if (!rest) {
    by_page_until_ = std::max(by_page_until_, at + wanted_bytes);
    past = static_cast<std::size_t>(page_bytes - at % page_bytes);
    wanted_bytes = past + limits::pack_entry_header_bytes;
    rest = look(at, wanted_bytes);
  }
  if (!rest) {
    // The bad sector may be in the page behind this one.
    rest = look(at, past);
    if (!rest) return at + past;
    wanted_bytes = past;
  }
  auto const found = find_pack_entry(*rest, 1);
  if (found < rest->size()) return at + found;
  if (rest->size() < wanted_bytes) return std::nullopt;
  return at + past;
}

void pack_scan::run(std::function<void(stored_block const&)> const& each) {
  // Without a look at the pack's own header: it tells nothing about the blocks.
  for (std::optional<std::uint64_t> at = limits::pack_header_bytes; at && *at <= UINT32_MAX;) {
    auto const header = look(*at, limits::pack_entry_header_bytes);
    if (header && header->size() < limits::pack_entry_header_bytes) return;
    if (auto const entry = header ? decode_pack_entry(*header) : std::nullopt) {
      auto const whole_bytes = limits::pack_entry_header_bytes + entry->stored_bytes;
      auto const bytes = look(*at, whole_bytes);
      if (bytes && bytes->size() == whole_bytes &&
          checksum64(bytes->subspan(limits::pack_entry_header_bytes)) == entry->checksum) {
        each({entry->id, entry->stored_bytes, {number_, static_cast<std::uint32_t>(*at)}});
        *at += whole_bytes;
        continue;
      }
    }
    at = next_after(*at);
  }
}

}  // namespace

void scan_pack(file_system& files, store_layout const& layout, std::uint32_t number,
               std::function<void(stored_block const&)> const& each) {
  pack_scan(files, layout, number).run(each);
}

}  // namespace diskdump
