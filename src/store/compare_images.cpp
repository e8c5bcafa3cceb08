// Two manifests side by side: equal digests are equal content, whatever the store holds.
#include "base/format.hpp"
#include "store/inventory.hpp"

namespace diskdump {

namespace {

// Joins ranges that touch.
class range_joiner {
 public:
  explicit range_joiner(std::function<void(changed_range const&)> const& each) : each_(each) {}

  void add(std::uint64_t offset, std::uint64_t length) {
    ++total_.blocks;
    total_.bytes += length;
    if (length_ > 0 && offset_ + length_ == offset) {
      length_ += length;
      return;
    }
    finish();
    offset_ = offset;
    length_ = length;
  }

  void finish() {
    if (length_ == 0) return;
    ++total_.ranges;
    each_({offset_, length_});
    length_ = 0;
  }

  [[nodiscard]] image_difference const& total() const noexcept { return total_; }

 private:
  std::function<void(changed_range const&)> const& each_;
  image_difference total_;
  std::uint64_t offset_ = 0;
  std::uint64_t length_ = 0;
};

}  // namespace

image_difference compare_images(manifest_reader before, manifest_reader after,
                                std::function<void(changed_range const&)> const& each) {
  auto const a = before.header().geometry;
  auto const b = after.header().geometry;
  if (a.block_bytes != b.block_bytes) {
    throw error(store_errc::block_size_differs, severity::permanent)
        .path(after.path())
        .cause(format("its blocks are of {} bytes, those of {} of {}: digests of different blocks "
                      "cannot be compared",
                      b.block_bytes, before.path(), a.block_bytes))
        .remedy("compare images that were dumped with one --block-size");
  }
  auto const& longer = a.image_bytes > b.image_bytes ? a : b;
  range_joiner ranges(each);
  for (block_index at{0};; ++at) {
    auto const one = before.next();
    auto const other = after.next();
    if (!one && !other) break;
    // Where one image ends within a block, the other's rest of that block counts as changed, too.
    if (one != other) ranges.add(longer.offset_bytes(at), longer.length_bytes(at));
  }
  ranges.finish();
  return ranges.total();
}

}  // namespace diskdump
