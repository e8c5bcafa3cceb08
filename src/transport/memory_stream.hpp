// Two streams joined back to back in memory, for tests: what one end writes the other reads. Each
// direction is a bounded queue of bytes, so that backpressure is real. Faults are set on an end
// from outside: a connection that breaks after so many bytes, and one that stands still.
//
// All calls come from the executor's thread. An end that is dropped or closed reads as the end of
// the stream on the other side; a lost connection is cut_after().
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "async/wait_list.hpp"
#include "transport/stream.hpp"

namespace diskdump {

class memory_stream final : public stream {
 public:
  struct pair_state;

  memory_stream(std::shared_ptr<pair_state> state, unsigned side);
  ~memory_stream() override;

  [[nodiscard]] task<std::size_t> read(byte_span to) override;
  [[nodiscard]] task<> write(byte_view bytes) override;
  [[nodiscard]] task<> write_eof() override;
  // Reports what set_exit() said on either end; never waits.
  [[nodiscard]] task<exit_report> close() override;
  [[nodiscard]] std::string stderr_tail() const override;
  [[nodiscard]] std::uint64_t wire_bytes() const noexcept override;

  // ---- Seams for faults, at any time -----------------------------------------------------------
  // The connection breaks once this end has read `bytes` more: both ends then throw
  // connection_lost. Zero breaks it now.
  void cut_after(std::uint64_t bytes);
  // Reads of this end stand still until resume(); nothing is lost.
  void stall();
  void resume();
  // What close() of the other end reports.
  void set_exit(exit_report report);
  // A read delivers at most so many bytes: 1 finds every parser that relies on whole messages.
  void read_at_most(std::size_t bytes);

 private:
  std::shared_ptr<pair_state> state_;
  unsigned side_;
};

struct memory_stream_pair {
  std::unique_ptr<memory_stream> first;
  std::unique_ptr<memory_stream> second;
};

// REQUIRES: capacity_bytes > 0; it bounds each direction.
[[nodiscard]] memory_stream_pair make_memory_stream_pair(asio::any_io_executor const& executor,
                                                         std::size_t capacity_bytes);

}  // namespace diskdump
