#include "store/block_marks.hpp"

#include <malloc.h>

#include <algorithm>
#include <random>

#include "base/assert.hpp"

namespace diskdump {

namespace {

constexpr std::size_t slots_first = 32;
// About as many as a core waits for at the same time.
constexpr std::size_t ids_ahead = 32;

// At most 4/5 full after adding one; growing by half leaves 8/15.
bool is_full(std::size_t used, std::size_t slots) noexcept { return (used + 1) * 5 > slots * 4; }

std::uint64_t random_key() {
  std::random_device random;
  return (std::uint64_t{random()} << 32 | random()) | 1;
}

}  // namespace

block_marks::block_marks() : key_(random_key()) {}

// The high bits of a product with a secret odd factor, scaled to the number of slots.
std::size_t block_marks::first_slot_of(shard const& s, block_id const& id) const noexcept {
  auto const mixed = load_le<std::uint64_t>(id.bytes.data() + 1) * key_;
  return static_cast<std::size_t>((static_cast<unsigned __int128>(mixed) * s.bits.size()) >> 64);
}

// Where `id` is, or the free slot where it belongs.
std::size_t block_marks::slot_of(shard const& s, block_id const& id) const noexcept {
  auto const slots = s.bits.size();
  auto at = first_slot_of(s, id);
  while (s.bits[at] != 0 && s.ids[at] != id) {
    if (++at == slots) at = 0;
  }
  return at;
}

void block_marks::grow(shard& s) const {
  shard larger;
  auto const slots = s.bits.empty() ? slots_first : s.bits.size() + s.bits.size() / 2;
  larger.ids.resize(slots);
  larger.bits.resize(slots);
  for (std::size_t i = 0; i < s.bits.size(); ++i) {
    if (s.bits[i] == 0) continue;
    auto const at = slot_of(larger, s.ids[i]);
    larger.ids[at] = s.ids[i];
    larger.bits[at] = s.bits[i];
  }
  s.ids = std::move(larger.ids);
  s.bits = std::move(larger.bits);
}

std::uint8_t block_marks::add(block_id const& id, std::uint8_t bits) {
  DISKDUMP_ASSERT(bits != 0);
  auto& s = shard_of(id);
  std::lock_guard const lock(s.mutex);
  if (is_full(s.used, s.bits.size())) grow(s);
  auto const at = slot_of(s, id);
  auto const before = s.bits[at];
  if (before == 0) {
    s.ids[at] = id;
    ++s.used;
  }
  s.bits[at] |= bits;
  return before;
}

std::uint8_t block_marks::of(block_id const& id) const {
  auto const& s = shard_of(id);
  std::lock_guard const lock(s.mutex);
  return s.bits.empty() ? std::uint8_t{0} : s.bits[slot_of(s, id)];
}

void block_marks::of(std::span<block_id const> ids, std::span<std::uint8_t> bits) const {
  DISKDUMP_ASSERT(ids.size() == bits.size());
  while (!ids.empty()) {
    auto const some = std::min(ids.size(), ids_ahead);
    for (auto const& id : ids.first(some)) {
      auto const& s = shard_of(id);
      std::lock_guard const lock(s.mutex);
      if (s.bits.empty()) continue;
      auto const at = first_slot_of(s, id);
      __builtin_prefetch(&s.ids[at]);
      __builtin_prefetch(&s.bits[at]);
    }
    for (std::size_t i = 0; i < some; ++i) bits[i] = of(ids[i]);
    ids = ids.subspan(some);
    bits = bits.subspan(some);
  }
}

std::uint64_t block_marks::size() const {
  std::uint64_t total = 0;
  for (auto const& s : shards_) {
    std::lock_guard const lock(s.mutex);
    total += s.used;
  }
  return total;
}

void block_marks::clear() {
  for (auto& s : shards_) {
    std::lock_guard const lock(s.mutex);
    free_memory(s.ids);
    free_memory(s.bits);
    s.used = 0;
  }
  trim();
}

// Shards are smaller than what goes back by itself.
void block_marks::trim() { (void)::malloc_trim(0); }

void block_marks::for_each(
    std::function<void(block_id const&, std::uint8_t bits)> const& each) const {
  for (auto const& s : shards_) {
    std::lock_guard const lock(s.mutex);
    for (std::size_t i = 0; i < s.bits.size(); ++i) {
      if (s.bits[i] != 0) each(s.ids[i], s.bits[i]);
    }
  }
}

}  // namespace diskdump
