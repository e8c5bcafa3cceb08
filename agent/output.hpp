// The one writer of stdout. Takes control frames from the session and blocks from the send stage;
// gives bytes to the server. A block's bytes go out of its slot without being copied, several
// blocks per system call, and the slot is free again once they are written.
//
// Control frames leave in the order in which they were made, and before blocks that wait; whoever
// makes END sees to it that no block is left by then. Single-threaded.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <deque>
#include <vector>

#include "async/buffer_pool.hpp"
#include "async/wait_list.hpp"
#include "wire/agent_session.hpp"

namespace diskdump {

// A block whose payload stands at the front of its slot, compressed or not.
struct ready_block {
  block_header header;
  std::uint32_t payload_bytes = 0;
  slot_lease slot;
};

class output {
 public:
  // Takes over `fd` and makes it non-blocking. Throws agent_errc::bad_descriptor for what cannot be
  // waited for. The session and the pool of the slots outlive it.
  output(asio::any_io_executor executor, int fd, agent_session& session);

  // Takes what the session has to say. After each verb of the session.
  void flush_session();

  // Completes when so little control output waits that more may be made, resuming on the executor.
  // Cancelled: throws.
  [[nodiscard]] task<> room();

  // Completes when all of `blocks` are written and their slots free, resuming on the executor.
  // Any number at once. Throws where the server is gone. Cancelled: throws; the blocks stay queued
  // until discard() and may still be written.
  [[nodiscard]] task<> write(std::vector<ready_block> blocks);

  // Completes after finish(), when everything is written. Throws where the server is gone. Called
  // once. Cancelled: throws, maybe in the middle of a frame.
  [[nodiscard]] task<> run();

  // Drops the blocks whose writing has not begun: the dump has failed.
  void discard();
  // run() ends once all is written.
  void finish();

 private:
  struct writing {
    byte_vector control;
    std::vector<ready_block> blocks;
    byte_vector headers;
    std::vector<iovec> pieces;
  };
  void gather();
  void add_piece(byte_view bytes);
  [[nodiscard]] task<> write_pieces();

  asio::posix::stream_descriptor descriptor_;
  agent_session& session_;
  byte_vector control_;
  std::deque<ready_block> queued_;
  writing now_;  // kept, so that its vectors are not allocated anew for each write
  std::uint64_t queued_ever_ = 0;
  std::uint64_t written_ever_ = 0;
  bool finished_ = false;
  wait_list work_;
  wait_list progress_;
};

}  // namespace diskdump
