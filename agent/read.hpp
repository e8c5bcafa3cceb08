// The first stage. Takes the source and free slots; gives groups of blocks in image order. Holes
// are not read; several requests are in flight; bad sectors are read around.
#pragma once

#include <cstdint>
#include <exception>
#include <optional>
#include <vector>

#include "agent/rescue.hpp"
#include "agent/turnstile.hpp"
#include "async/buffer_pool.hpp"
#include "async/channel.hpp"
#include "async/rate_limiter.hpp"
#include "base/units.hpp"
#include "io/disk.hpp"

namespace diskdump {

// Blocks that follow each other in the image: read ones, each in a slot, or a hole.
struct read_group {
  std::uint64_t ticket = 0;  // counts the groups of one image
  block_index first;
  std::vector<slot_lease> slots;  // a hole has none
  block_count hole;
  std::vector<bad_range> bad;  // stand as zeros in the slots
};

struct read_settings {
  block_geometry geometry;
  block_index first_block;
  std::uint32_t batch_blocks = 0;
  bool skip_bad_sectors = false;
};

// How many blocks one request covers at most, with an unbounded read rate. Several requests share
// a small batch, so that reading, hashing and sending still overlap.
[[nodiscard]] std::uint32_t request_blocks_max(std::uint32_t block_bytes,
                                               std::uint32_t batch_blocks) noexcept;

class image_reader {
 public:
  // All outlive the reader. One executor, single-threaded.
  image_reader(asio::any_io_executor executor, disk& source, buffer_pool& slots,
               rate_limiter& limiter, read_settings settings);

  // Completes when the last group was taken over by `out`, which is finished then; resumes on the
  // executor. Throws agent_errc for what ends the dump. Cancelled: throws once no request is in
  // flight any more. Called once.
  [[nodiscard]] task<> run(sender<read_group> out);

  // Bytes of blocks that were read so far; holes do not count.
  [[nodiscard]] std::uint64_t read_bytes() const noexcept { return read_bytes_; }

 private:
  [[nodiscard]] task<> plan(sender<read_group> out);
  [[nodiscard]] task<block_index> plan_extent(sender<read_group>& out, block_index from,
                                              block_index end);
  [[nodiscard]] task<> lane();
  [[nodiscard]] task<> fill(read_group& group);
  [[nodiscard]] task<> fill_large_block(read_group& group);
  [[nodiscard]] task<bool> ends_before(std::uint64_t offset_bytes);
  [[nodiscard]] task<> check_not_shorter();
  [[nodiscard]] task<> throw_shrank(std::uint64_t end_bytes_max);
  [[nodiscard]] task<> refine(std::exception_ptr failure);
  [[noreturn]] static void throw_bad_sectors(read_group const& group);
  [[nodiscard]] std::uint64_t end_bytes(block_index end) const noexcept;

  asio::any_io_executor executor_;
  disk& source_;
  buffer_pool& slots_;
  rate_limiter& limiter_;
  read_settings settings_;
  receiver<read_group> plans_;
  sender<read_group> out_;
  turnstile turns_;
  std::uint64_t next_ticket_ = 0;
  std::uint64_t read_bytes_ = 0;
};

}  // namespace diskdump
