#include "store/pack_format.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/assert.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "codec/checksum.hpp"

namespace diskdump {

namespace {

constexpr std::string_view pack_magic = "ddpack\r\n";
constexpr std::uint32_t pack_header_version = 1;
constexpr std::size_t owner_bytes = 40;
constexpr std::string_view entry_magic =
    "\x8d"
    "blk";
constexpr std::string_view pack_suffix = ".pack";

// Of both headers: the last eight bytes are the checksum of those before.
constexpr std::size_t checksum_at = 56;
static_assert(limits::pack_header_bytes == checksum_at + 8);
static_assert(limits::pack_entry_header_bytes == checksum_at + 8);

void seal(std::byte* header) {
  store_le<std::uint64_t>(header + checksum_at, checksum64(byte_view(header, checksum_at)));
}

bool is_sealed(byte_view header) {
  return load_le<std::uint64_t>(header.data() + checksum_at) ==
         checksum64(header.first(checksum_at));
}

bool begins_with(byte_view bytes, std::string_view magic) {
  return as_text(bytes.first(std::min(bytes.size(), magic.size()))) == magic;
}

}  // namespace

byte_vector encode_pack_header(pack_header const& header) {
  DISKDUMP_ASSERT(header.owner.size() <= owner_bytes);
  byte_vector bytes(limits::pack_header_bytes);
  std::memcpy(bytes.data(), pack_magic.data(), pack_magic.size());
  store_le<std::uint32_t>(bytes.data() + 8, pack_header_version);
  std::memcpy(bytes.data() + 16, header.owner.data(), header.owner.size());
  seal(bytes.data());
  return bytes;
}

std::optional<pack_header> decode_pack_header(byte_view bytes) {
  if (bytes.size() < limits::pack_header_bytes || !begins_with(bytes, pack_magic) ||
      !is_sealed(bytes.first(limits::pack_header_bytes)) ||
      load_le<std::uint32_t>(bytes.data() + 8) != pack_header_version) {
    return std::nullopt;
  }
  pack_header header;
  auto const owner = as_text(bytes.subspan(16, owner_bytes));
  header.owner = owner.substr(0, owner.find('\0'));
  // It becomes part of a path.
  auto const plain = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
  };
  if (!std::all_of(header.owner.begin(), header.owner.end(), plain)) return std::nullopt;
  return header;
}

void append_pack_entry(byte_vector& to, block_id const& id, block_codec codec, byte_view data) {
  auto const at = to.size();
  to.resize(at + limits::pack_entry_header_bytes);
  auto* const header = to.data() + at;
  std::memcpy(header, entry_magic.data(), entry_magic.size());
  header[4] = static_cast<std::byte>(codec);
  store_le<std::uint32_t>(header + 8, static_cast<std::uint32_t>(data.size()));
  std::memcpy(header + 16, id.bytes.data(), id.bytes.size());
  store_le<std::uint64_t>(header + 48, checksum64(data));
  seal(header);
  append_bytes(to, data);
}

std::optional<pack_entry> decode_pack_entry(byte_view bytes) {
  if (bytes.size() < limits::pack_entry_header_bytes || !begins_with(bytes, entry_magic) ||
      !is_sealed(bytes.first(limits::pack_entry_header_bytes))) {
    return std::nullopt;
  }
  pack_entry entry;
  auto const codec = std::to_integer<unsigned>(bytes[4]);
  if (codec > static_cast<unsigned>(block_codec::zlib)) return std::nullopt;
  entry.codec = static_cast<block_codec>(codec);
  entry.stored_bytes = load_le<std::uint32_t>(bytes.data() + 8);
  if (entry.stored_bytes == 0 || entry.stored_bytes > limits::stored_block_bytes_max) {
    return std::nullopt;
  }
  std::memcpy(entry.id.bytes.data(), bytes.data() + 16, entry.id.bytes.size());
  entry.checksum = load_le<std::uint64_t>(bytes.data() + 48);
  return entry;
}

std::size_t find_pack_entry(byte_view bytes, std::size_t from) {
  auto const at = as_text(bytes).find(entry_magic, from);
  return at == std::string_view::npos ? bytes.size() : at;
}

std::string pack_name(std::uint32_t number) { return format("{:06}{}", number, pack_suffix); }

std::optional<std::uint32_t> pack_of_name(std::string_view name) {
  if (!name.ends_with(pack_suffix)) return std::nullopt;
  auto const digits = name.substr(0, name.size() - pack_suffix.size());
  std::uint32_t number = 0;
  auto const [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (failed != std::errc() || pack_name(number) != name) return std::nullopt;
  return number;
}

}  // namespace diskdump
