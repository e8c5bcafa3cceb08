#include "store/digest_list.hpp"

#include <algorithm>

#include "base/assert.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "codec/base64.hpp"
#include "codec/compress.hpp"
#include "codec/digest.hpp"

namespace diskdump {

static_assert(sizeof(block_id) == block_id::size_bytes);
static_assert(limits::list_bytes_max == limits::list_digests_max * block_id::size_bytes);
// 43 characters for 256 bits, and a line end.
static_assert(limits::manifest_bytes_per_list == (block_id::size_bytes * 8 + 5) / 6 + 1);

bool keeps_lists(block_store const& store) noexcept {
  return store.properties().format == name_of(store_format::pack);
}

block_id put_list(block_store& store, std::span<block_id const> digests) {
  DISKDUMP_ASSERT(!digests.empty() && digests.size() <= limits::list_digests_max);
  byte_view const raw(reinterpret_cast<std::byte const*>(digests.data()), digests.size_bytes());
  auto const id = sha256(raw);
  // What the store says that it holds, it holds until the lease of this dump ends.
  if (!store.missing(std::span(&id, 1)).front()) return id;
  thread_local block_compressor compressor;
  byte_vector frame(lz4_frame_bytes_max(raw.size()));
  frame.resize(compressor.lz4_frame(raw, frame));
  try {
    (void)store.put_list(id, frame);
  } catch (error const& failure) {
    if (failure.code() != store_errc::store_full || !store.give_room()) throw;
    (void)store.put_list(id, frame);
  }
  return id;
}

std::vector<block_id> decode_list(block_id const& id, byte_view frame) {
  auto const damaged = [&](std::string const& cause) {
    return error(store_errc::damaged_block, severity::corruption).path(id.hex()).cause(cause);
  };
  thread_local block_decompressor decompressor;
  std::vector<block_id> digests(limits::list_digests_max);
  byte_span const raw(reinterpret_cast<std::byte*>(digests.data()), limits::list_bytes_max);
  std::size_t bytes = 0;
  try {
    bytes = decompressor.lz4_frame(frame, raw);
  } catch (error const& failure) {
    throw damaged(failure.what());
  }
  auto const found = sha256(raw.first(bytes));
  if (found != id) throw damaged(format("its content has the digest {}", found.hex()));
  if (bytes == 0 || bytes % block_id::size_bytes != 0) {
    throw damaged(format("its {} bytes are no digests", bytes));
  }
  digests.resize(bytes / block_id::size_bytes);
  return digests;
}

std::string list_name(block_id const& id) {
  auto text = base64_encode(id.bytes);
  while (text.ends_with('=')) text.pop_back();
  return text;
}

std::optional<block_id> list_of_name(std::string_view text) {
  if (text.size() != limits::manifest_bytes_per_list - 1) return std::nullopt;
  auto const bytes = base64_decode(text);
  if (!bytes || bytes->size() != block_id::size_bytes) return std::nullopt;
  block_id id;
  std::copy(bytes->begin(), bytes->end(), id.bytes.begin());
  // Two bits of the last character say nothing, and are zero.
  if (list_name(id) != text) return std::nullopt;
  return id;
}

list_source::list_source(std::string base) : later_(std::make_shared<opened_later>()) {
  later_->base = std::move(base);
}

std::optional<byte_vector> list_source::get(block_id const& id) const {
  DISKDUMP_ASSERT(!is_none());
  if (store_ != nullptr) return store_->get(id);
  block_store* store = nullptr;
  {
    std::lock_guard const lock(later_->opening);
    if (!later_->store) later_->store = open_store(later_->base, {.read_only = true});
    store = later_->store.get();
  }
  return store->get(id);
}

}  // namespace diskdump
