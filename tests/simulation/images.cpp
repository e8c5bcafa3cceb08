#include "images.hpp"

#include <algorithm>

#include "base/assert.hpp"
#include "codec/digest.hpp"

namespace diskdump::simulation {

namespace {

std::vector<pool_block> make_pool() {
  random_sequence random(1);
  std::vector<pool_block> pool(pool_blocks);
  for (std::uint32_t number = 0; number < pool_blocks; ++number) {
    auto& block = pool[number];
    block.bytes.resize(block_bytes);
    bool const compresses = number % 2 == 0;
    for (std::size_t i = 0; i < block_bytes; ++i) {
      auto const byte = compresses && i % 64 >= 8 ? number & 0xff : random.next() & 0xff;
      block.bytes[i] = static_cast<std::byte>(byte);
    }
    // Never zero, however short the last block of an image is.
    block.bytes[0] = std::byte{1};
    block.id = sha256(block.bytes);
  }
  return pool;
}

}  // namespace

pool_block const& pooled(std::uint32_t number) {
  static auto const pool = make_pool();
  return pool[number];
}

image::image(std::uint64_t image_bytes, std::vector<std::uint32_t> blocks)
    : geometry_{image_bytes, block_bytes}, blocks_(std::move(blocks)) {
  DISKDUMP_ASSERT(geometry_.blocks().value == blocks_.size());
}

byte_view image::block(block_index i) const {
  static byte_vector const nothing(block_bytes);
  auto const length = geometry_.length_bytes(i);
  auto const number = blocks_[i.value];
  return byte_view(number >= hole ? nothing : pooled(number).bytes).first(length);
}

block_id image::id(block_index i) const {
  static auto const full_zeros = zero_block_id(block_bytes);
  if (geometry_.length_bytes(i) == block_bytes) {
    return is_zero(i) ? full_zeros : pooled(blocks_[i.value]).id;
  }
  if (!last_id_) last_id_ = sha256(block(i));
  return *last_id_;
}

std::uint64_t image::data_blocks() const noexcept {
  return static_cast<std::uint64_t>(std::count_if(
      blocks_.begin(), blocks_.end(), [](std::uint32_t number) { return number < hole; }));
}

image make_image(random_sequence& random, std::uint64_t blocks_max, std::uint32_t batch_blocks,
                 std::uint32_t first, std::uint32_t common) {
  std::uint64_t blocks = random.between(0, blocks_max);
  std::uint64_t last_bytes = random.percent(50) ? block_bytes : random.between(1, block_bytes);
  switch (random.below(12)) {
    case 0:
      blocks = 0;
      break;
    case 1:
      blocks = last_bytes = 1;
      break;
    case 2:
      blocks = std::min<std::uint64_t>(blocks_max, batch_blocks);
      last_bytes = block_bytes;
      break;
    default:
      break;
  }
  unsigned const zero_percent = random.percent(30) ? 40 : 5;
  unsigned const repeat_percent = random.percent(20) ? 60 : 3;
  unsigned const own_percent = random.percent(50) ? 0 : 20;
  bool const in_order = random.percent(60);  // as a copy of the same installation is
  std::vector<std::uint32_t> numbers;
  for (std::uint64_t i = 0; i < blocks; ++i) {
    auto number = first + static_cast<std::uint32_t>(in_order ? i % common : random.below(common));
    if (random.percent(own_percent)) number = static_cast<std::uint32_t>(random.next());
    number %= pool_blocks;
    if (random.percent(zero_percent)) number = random.percent(50) ? image::zeros : image::hole;
    if (!numbers.empty() && random.percent(repeat_percent)) {
      number = numbers[random.below(numbers.size())];
    }
    numbers.push_back(number);
  }
  auto const bytes = blocks == 0 ? 0 : (blocks - 1) * block_bytes + last_bytes;
  return {bytes, std::move(numbers)};
}

image image::changed(random_sequence& random, bool same_size) const {
  auto const blocks = blocks_.size();
  auto numbers = blocks_;
  if (!same_size) numbers.resize(random.between(0, blocks + 4), 7);
  for (auto i = numbers.size() / 2; i < numbers.size(); ++i) {
    if (random.percent(50)) numbers[i] = static_cast<std::uint32_t>(random.below(pool_blocks));
  }
  auto bytes = geometry_.image_bytes;
  if (numbers.size() != blocks) bytes = numbers.size() * block_bytes;
  return {bytes, std::move(numbers)};
}

}  // namespace diskdump::simulation
