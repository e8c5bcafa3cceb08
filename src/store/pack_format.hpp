// The bytes of a pack (FORMAT.md, "Packs"): a header, then entries, one after the other. Every
// entry tells whose block it is and how long, and carries checksums of itself and of its data, so
// that a pack can be read without an index, and what a crash left at its end is known for what it
// is. Pure functions. Internal to src/store.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.hpp"
#include "codec/block_id.hpp"
#include "codec/compress.hpp"

namespace diskdump {

struct pack_header {
  // The unique name of its writer, whose lock file is locked while it may still write.
  std::string owner;
};

struct pack_entry {
  block_id id;
  block_codec codec = block_codec::lz4;
  std::uint32_t stored_bytes = 0;  // of the data, which follows
  std::uint64_t checksum = 0;      // checksum64 of the data
};

// Exactly limits::pack_header_bytes. REQUIRES: the owner has at most 40 bytes.
[[nodiscard]] byte_vector encode_pack_header(pack_header const& header);
// nullopt for anything else than a header of a version that we know.
[[nodiscard]] std::optional<pack_header> decode_pack_header(byte_view bytes);

// Adds limits::pack_entry_header_bytes and `data` to `to`.
void append_pack_entry(byte_vector& to, block_id const& id, block_codec codec, byte_view data);
// nullopt where `bytes` do not begin with the header of an entry; its data is not looked at.
[[nodiscard]] std::optional<pack_entry> decode_pack_entry(byte_view bytes);

// The first place from `from` on where an entry may begin; bytes.size() where there is none.
[[nodiscard]] std::size_t find_pack_entry(byte_view bytes, std::size_t from);

// "000017.pack", and back; nullopt for other names.
[[nodiscard]] std::string pack_name(std::uint32_t number);
[[nodiscard]] std::optional<std::uint32_t> pack_of_name(std::string_view name);

}  // namespace diskdump
