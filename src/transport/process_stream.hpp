// A stream over the pipes of a child process. All calls come from the event loop's thread.
#pragma once

#include <memory>
#include <string>

#include "async/timer.hpp"
#include "transport/child_process.hpp"
#include "transport/stream.hpp"

namespace diskdump {

class process_stream final : public stream {
 public:
  // Starts the child. `host` names it in errors; `timers` outlives the stream.
  process_stream(asio::any_io_executor const& executor, timer_source& timers, child_command command,
                 std::string host);
  ~process_stream() override;  // kills the child if it still runs

  [[nodiscard]] task<std::size_t> read(byte_span to) override;
  [[nodiscard]] task<> write(byte_view bytes) override;
  [[nodiscard]] task<> write_eof() override;
  [[nodiscard]] task<exit_report> close() override;
  [[nodiscard]] std::string stderr_tail() const override;
  [[nodiscard]] std::uint64_t wire_bytes() const noexcept override { return payload_bytes_; }

  // How the child ended, if it has by now.
  [[nodiscard]] std::optional<child_end> ended();
  // Completes when the child has ended. Cancelled: throws, the child runs on.
  [[nodiscard]] task<child_end> wait_end();

 private:
  struct shared;
  static void drain_errors(std::shared_ptr<shared> state);

  timer_source& timers_;
  std::string host_;
  // Also held by the read of stderr that is under way: a stream may be dropped without close(), at
  // a moment when nothing can be awaited.
  std::shared_ptr<shared> state_;
  std::uint64_t payload_bytes_ = 0;
};

}  // namespace diskdump
