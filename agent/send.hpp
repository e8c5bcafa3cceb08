// The last stage. Takes needed blocks from hold; gives them to the output, compressed by the policy
// of the moment where that makes them smaller. All cores compress; what shrank goes back into its
// slot, so that memory stays one batch.
#pragma once

#include <cstdint>

#include "agent/hold.hpp"
#include "agent/output.hpp"
#include "async/offload.hpp"
#include "wire/messages.hpp"

namespace diskdump {

// How many lanes compress and send at the same time: one more than there are threads, so that a
// worker has work while a lane writes, as far as their compressors and scratch fit
// limits::compress_memory_bytes_max; at least one.
[[nodiscard]] unsigned send_lanes(unsigned threads, std::uint32_t block_bytes) noexcept;

// Completes when `held` is closed and empty and every needed block is written, resuming on the
// executor. `policy` is read anew for each hop to a worker. Throws where the server is gone.
// Cancelled: throws once no worker uses a slot any more.
[[nodiscard]] task<> send_stage(worker_pool& workers, std::uint32_t block_bytes,
                                codec_policy const& policy, hold& held, output& out);

}  // namespace diskdump
