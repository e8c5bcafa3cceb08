// From a manifest back to an image: blocks are fetched, decompressed and verified in parallel, and
// written by offset (file, block device) or in order (a pipe).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "async/offload.hpp"
#include "base/log.hpp"
#include "io/disk.hpp"
#include "pipeline/stage_times.hpp"
#include "store/block_store.hpp"
#include "store/manifest.hpp"

namespace diskdump {

struct restore_context {
  asio::any_io_executor executor;
  worker_pool& readers;  // blocking and CPU: store reads, decompress, digest
  worker_pool& writers;  // blocking: the output
  block_store& store;
  stage_times* times = nullptr;  // of a benchmark
};

struct restore_progress {
  std::uint64_t image_bytes = 0;
  std::uint64_t done_bytes = 0;
  std::uint64_t zero_bytes = 0;  // of done_bytes: left as holes, or zeroed without writing data
};

// Writes the image to `output` by offset. `output_is_zeroed`: a fresh file, whose holes read as
// zeros already; else zeros are written. Completes when all is written, not yet synced; resumes on
// the executor. Throws missing_block or damaged_block with the image offset; the output is then
// partly written. Cancellation stops it between blocks.
[[nodiscard]] task<> restore_to_disk(restore_context& context, manifest_reader manifest,
                                     disk& output, bool output_is_zeroed,
                                     restore_progress& progress);

// Writes the image to a file descriptor in order (stdout). Does not close it.
[[nodiscard]] task<> restore_to_stream(restore_context& context, manifest_reader manifest,
                                       int descriptor, restore_progress& progress);

}  // namespace diskdump
