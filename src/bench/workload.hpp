// What a synthetic image holds: which blocks are zeros, which repeat another one, and what is in
// them. Pure and deterministic: the same options give the same bytes, on any machine with the same
// lz4. Not thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "base/bytes.hpp"
#include "base/units.hpp"

namespace diskdump {

struct workload_options {
  std::uint64_t image_bytes = 0;  // of each image; a multiple of block_bytes
  std::uint32_t block_bytes = 0;
  double zeros_percent = 0;            // of all blocks: holes
  double dedup_percent = 0;            // of the others: repeat one before, in any of the images
  double compressibility_percent = 0;  // what lz4 takes off the others
  std::uint32_t images = 1;
  std::uint64_t seed = 1;
};

// What a block holds: 0 are zeros, any other number a content of its own.
using content_number = std::uint32_t;

// What every block of every image holds; 4 bytes a block.
class workload {
 public:
  // REQUIRES: at most limits::bench_blocks_max blocks in all, shares from 0 to 100.
  explicit workload(workload_options const& options);

  [[nodiscard]] std::vector<std::vector<content_number>> const& images() const noexcept {
    return images_;
  }

  struct counts {
    std::uint64_t blocks = 0;
    std::uint64_t zeros = 0;
    std::uint64_t distinct = 0;  // contents, without the zeros

    [[nodiscard]] std::uint64_t data() const noexcept { return blocks - zeros; }
  };
  [[nodiscard]] counts count() const;

  struct place {
    std::uint32_t image = 0;
    block_index block;
  };
  struct change {
    std::vector<place> blocks;    // each has a content that nothing had before
    std::uint64_t abandoned = 0;  // contents that no block has any more
  };
  // Gives so much of all blocks that are not zeros (rounded up) a new content.
  change change_percent(double percent);

 private:
  [[nodiscard]] std::uint64_t random() noexcept;

  std::uint64_t state_;
  content_number last_ = 0;
  std::vector<std::vector<content_number>> images_;
};

// Makes the bytes of a content: literals that nothing compresses, and repetitions of what stood
// shortly before, in a proportion that is found by compressing.
class content_maker {
 public:
  // Compresses some contents of these options to find the proportion: 0.06 s.
  explicit content_maker(workload_options const& options);

  // All of `out` but for zero bytes differs between contents. REQUIRES: `number` is not 0.
  void fill(content_number number, byte_span out) const;

  // What lz4 takes off these contents, in percent, as it was measured. Negative where it adds.
  [[nodiscard]] double saved_percent() const noexcept { return saved_percent_; }

 private:
  [[nodiscard]] double measure() const;

  std::uint64_t seed_;
  std::uint32_t block_bytes_;
  std::uint32_t repeat_bytes_;  // of one repetition, on average
  double repeated_ = 0;         // share of the bytes
  double saved_percent_ = 0;
};

}  // namespace diskdump
