#include "bench/workload.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/assert.hpp"
#include "base/limits.hpp"
#include "codec/compress.hpp"

namespace diskdump {

namespace {

// splitmix64 (Steele, Lea, Flood 2014): any state is as good as any other, so that each content can
// have a generator of its own.
constexpr std::uint64_t golden = 0x9e3779b97f4a7c15ULL;

std::uint64_t mix(std::uint64_t x) noexcept {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

class generator {
 public:
  explicit generator(std::uint64_t seed) noexcept : state_(seed) {}
  std::uint64_t next() noexcept { return mix(state_ += golden); }

  // 0 to `below` - 1. The bias of at most below / 2^32 does not show.
  std::uint64_t below(std::uint64_t below) noexcept { return ((next() >> 32) * below) >> 32; }

  void literals(byte_span out) noexcept {
    while (!out.empty()) {
      auto const value = next();
      auto const n = std::min(out.size(), sizeof value);
      std::memcpy(out.data(), &value, n);
      out = out.subspan(n);
    }
  }

 private:
  std::uint64_t state_;
};

// How much of `n` a share is.
std::uint64_t part_of(std::uint64_t n, double percent) {
  return static_cast<std::uint64_t>(std::llround(static_cast<double>(n) * percent / 100));
}

// Chooses exactly `wanted` of `from` things, each as likely as any other (Knuth's algorithm S).
class selection {
 public:
  selection(std::uint64_t wanted, std::uint64_t from) : wanted_(wanted), from_(from) {}

  // Whether the next one is chosen; `random` is any number.
  bool take(std::uint64_t random) noexcept {
    auto const chosen = wanted_ > 0 && random % from_ < wanted_;
    --from_;
    if (chosen) --wanted_;
    return chosen;
  }

 private:
  std::uint64_t wanted_, from_;
};

// A repetition costs some bytes, the more the longer it is: longer ones where more is to be saved.
constexpr double repeat_bytes_for_rest = 16;
constexpr std::uint32_t repeat_bytes_min = 32;
constexpr std::uint32_t repeat_bytes_max = 2048;
// What is repeated begins where one of the last few literals began: lz4 remembers the places of
// literals, not those within a repetition, and forgets those that are far away.
constexpr std::size_t literals_remembered = 4;
constexpr std::uint64_t literal_bytes_min = 4;
// Stands before all repetitions, and makes each content one of its own.
constexpr std::size_t unique_bytes = 16;

}  // namespace

std::uint64_t workload::random() noexcept { return mix(state_ += golden); }

workload::workload(workload_options const& o) : state_(mix(o.seed)) {
  DISKDUMP_ASSERT(o.block_bytes > 0 && o.image_bytes % o.block_bytes == 0);
  auto const per_image = o.image_bytes / o.block_bytes;
  auto const blocks = per_image * o.images;
  DISKDUMP_ASSERT(blocks <= limits::bench_blocks_max);
  auto const zeros = part_of(blocks, o.zeros_percent);
  auto const data = blocks - zeros;
  // The first one cannot repeat another.
  auto const repeats = std::min(part_of(data, o.dedup_percent), data > 0 ? data - 1 : 0);
  selection is_zero(zeros, blocks);
  selection is_repeat(repeats, data > 0 ? data - 1 : 0);
  images_.resize(o.images);
  for (auto& image : images_) {
    image.reserve(per_image);
    for (std::uint64_t i = 0; i < per_image; ++i) {
      if (is_zero.take(random())) {
        image.push_back(0);
      } else if (last_ > 0 && is_repeat.take(random())) {
        image.push_back(static_cast<content_number>(random() % last_ + 1));
      } else {
        image.push_back(++last_);
      }
    }
  }
}

workload::counts workload::count() const {
  counts c;
  std::vector<bool> seen(last_ + std::size_t{1});
  for (auto const& image : images_) {
    c.blocks += image.size();
    for (auto const number : image) {
      if (number == 0) {
        ++c.zeros;
      } else if (!seen[number]) {
        seen[number] = true;
        ++c.distinct;
      }
    }
  }
  return c;
}

workload::change workload::change_percent(double percent) {
  auto const before = count();
  auto const data = before.data();
  auto const wanted =
      static_cast<std::uint64_t>(std::ceil(static_cast<double>(data) * percent / 100));
  change result;
  selection is_changed(std::min(wanted, data), data);
  for (std::uint32_t image = 0; image < images_.size(); ++image) {
    auto& blocks = images_[image];
    for (std::uint64_t i = 0; i < blocks.size(); ++i) {
      if (blocks[i] == 0 || !is_changed.take(random())) continue;
      blocks[i] = ++last_;
      result.blocks.push_back({image, block_index{i}});
    }
  }
  result.abandoned = before.distinct + result.blocks.size() - count().distinct;
  return result;
}

content_maker::content_maker(workload_options const& o)
    : seed_(mix(o.seed ^ golden)), block_bytes_(o.block_bytes) {
  auto const kept = 1 - o.compressibility_percent / 100;
  repeat_bytes_ =
      static_cast<std::uint32_t>(std::clamp(repeat_bytes_for_rest / std::max(kept, 0.001),
                                            double{repeat_bytes_min}, double{repeat_bytes_max}));
  if (o.compressibility_percent > 0) {
    // The more is repeated, the more is saved.
    double low = 0, high = 1;
    for (unsigned i = 0; i < limits::bench_probe_steps; ++i) {
      repeated_ = (low + high) / 2;
      (measure() < o.compressibility_percent ? low : high) = repeated_;
    }
  }
  saved_percent_ = measure();
}

void content_maker::fill(content_number number, byte_span out) const {
  DISKDUMP_ASSERT(number != 0);
  generator random(mix(seed_ + number * golden));
  if (repeated_ <= 0) return random.literals(out);
  // On average, beside literal_bytes_min.
  auto const literal_bytes = std::max(
      repeat_bytes_ * (1 - repeated_) / repeated_ - static_cast<double>(literal_bytes_min), 0.0);
  auto const more_literals_max = static_cast<std::uint64_t>(2 * literal_bytes);
  random.literals(out.first(std::min(unique_bytes, out.size())));
  std::array<std::size_t, literals_remembered> literals_at{};
  std::size_t runs = 1;
  for (auto at = unique_bytes; at < out.size();) {
    auto const fresh = std::min<std::uint64_t>(
        literal_bytes_min + random.below(more_literals_max + 1), out.size() - at);
    random.literals(out.subspan(at, fresh));
    literals_at[runs++ % literals_remembered] = at;
    at += fresh;
    auto const length =
        std::min<std::uint64_t>(repeat_bytes_ / 2 + random.below(repeat_bytes_), out.size() - at);
    auto const from = literals_at[random.below(std::min(runs, literals_remembered))];
    // May overlap, so byte by byte where it does.
    if (from + length <= at) {
      std::copy_n(&out[0] + from, length, &out[0] + at);
    } else {
      for (std::uint64_t i = 0; i < length; ++i) out[at + i] = out[from + i];
    }
    at += length;
  }
}

double content_maker::measure() const {
  block_compressor compressor;
  byte_vector raw(block_bytes_);
  byte_vector packed(lz4_frame_bytes_max(block_bytes_));
  auto const blocks = std::max<std::size_t>(1, limits::bench_probe_bytes / block_bytes_);
  std::uint64_t stored = 0;
  for (std::size_t i = 0; i < blocks; ++i) {
    fill(static_cast<content_number>(i + 1), raw);
    stored += compressor.lz4_frame(raw, packed);
  }
  return 100 * (1 - static_cast<double>(stored) / (static_cast<double>(blocks) * block_bytes_));
}

}  // namespace diskdump
