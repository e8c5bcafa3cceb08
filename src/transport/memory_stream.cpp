#include "transport/memory_stream.hpp"

#include <algorithm>
#include <limits>

#include "base/assert.hpp"
#include "transport/connect.hpp"

namespace diskdump {

namespace {

// What flows towards one side.
struct byte_pipe {
  byte_pipe(asio::any_io_executor const& executor, std::size_t capacity_bytes)
      : capacity(capacity_bytes), readable(executor), writable(executor) {}
  std::size_t capacity;
  byte_vector bytes;  // Invariant: bytes.size() - start <= capacity.
  std::size_t start = 0;
  bool writer_done = false;
  bool reader_gone = false;
  bool stalled = false;
  std::uint64_t cut_in = std::numeric_limits<std::uint64_t>::max();
  std::size_t read_max = std::numeric_limits<std::size_t>::max();
  std::uint64_t carried = 0;
  wait_list readable;
  wait_list writable;

  [[nodiscard]] std::size_t size() const noexcept { return bytes.size() - start; }
};

[[noreturn]] void throw_lost() {
  throw error(transport_errc::connection_lost, severity::transient).host("memory");
}

}  // namespace

struct memory_stream::pair_state {
  pair_state(asio::any_io_executor const& executor, std::size_t capacity_bytes)
      : towards{byte_pipe(executor, capacity_bytes), byte_pipe(executor, capacity_bytes)} {}
  byte_pipe towards[2];
  bool broken = false;
  exit_report report[2];

  void wake() {
    for (auto& pipe : towards) {
      pipe.readable.wake_all();
      pipe.writable.wake_all();
    }
  }
};

memory_stream::memory_stream(std::shared_ptr<pair_state> state, unsigned side)
    : state_(std::move(state)), side_(side) {}

memory_stream::~memory_stream() {
  state_->towards[1 - side_].writer_done = true;
  state_->towards[side_].reader_gone = true;
  state_->wake();
}

task<std::size_t> memory_stream::read(byte_span to) {
  DISKDUMP_ASSERT(!to.empty());
  auto const state = state_;
  auto& pipe = state->towards[side_];
  for (;;) {
    if (pipe.cut_in == 0) {
      state->broken = true;
      state->wake();
    }
    if (state->broken) throw_lost();
    if (!pipe.stalled && (pipe.size() > 0 || pipe.writer_done)) break;
    co_await pipe.readable.wait();
  }
  auto const n = static_cast<std::size_t>(
      std::min<std::uint64_t>({to.size(), pipe.size(), pipe.cut_in, pipe.read_max}));
  std::copy_n(pipe.bytes.begin() + static_cast<std::ptrdiff_t>(pipe.start), n, to.begin());
  pipe.start += n;
  if (pipe.start == pipe.bytes.size()) {
    pipe.bytes.clear();
    pipe.start = 0;
  }
  if (pipe.cut_in != std::numeric_limits<std::uint64_t>::max()) pipe.cut_in -= n;
  pipe.writable.wake_all();
  co_return n;
}

task<> memory_stream::write(byte_view bytes) {
  auto const state = state_;
  auto& pipe = state->towards[1 - side_];
  DISKDUMP_ASSERT(!pipe.writer_done);
  while (!bytes.empty()) {
    if (state->broken || pipe.reader_gone) throw_lost();
    auto const n = std::min(bytes.size(), pipe.capacity - pipe.size());
    if (n == 0) {
      co_await pipe.writable.wait();
      continue;
    }
    if (pipe.start > 0) {
      pipe.bytes.erase(pipe.bytes.begin(),
                       pipe.bytes.begin() + static_cast<std::ptrdiff_t>(pipe.start));
      pipe.start = 0;
    }
    append_bytes(pipe.bytes, bytes.first(n));
    pipe.carried += n;
    bytes = bytes.subspan(n);
    pipe.readable.wake_all();
  }
}

task<> memory_stream::write_eof() {
  state_->towards[1 - side_].writer_done = true;
  state_->wake();
  co_return;
}

task<exit_report> memory_stream::close() {
  auto const state = state_;
  state->towards[1 - side_].writer_done = true;
  state->towards[side_].reader_gone = true;
  state->wake();
  co_return state->report[side_];
}

std::string memory_stream::stderr_tail() const { return state_->report[side_].stderr_tail; }

std::uint64_t memory_stream::wire_bytes() const noexcept {
  return state_->towards[0].carried + state_->towards[1].carried;
}

void memory_stream::cut_after(std::uint64_t bytes) {
  state_->towards[side_].cut_in = bytes;
  if (bytes == 0) state_->broken = true;
  state_->wake();
}

void memory_stream::stall() { state_->towards[side_].stalled = true; }

void memory_stream::resume() {
  state_->towards[side_].stalled = false;
  state_->wake();
}

void memory_stream::set_exit(exit_report report) { state_->report[1 - side_] = std::move(report); }

void memory_stream::read_at_most(std::size_t bytes) {
  DISKDUMP_ASSERT(bytes > 0);
  state_->towards[side_].read_max = bytes;
}

memory_stream_pair make_memory_stream_pair(asio::any_io_executor const& executor,
                                           std::size_t capacity_bytes) {
  DISKDUMP_ASSERT(capacity_bytes > 0);
  auto const state = std::make_shared<memory_stream::pair_state>(executor, capacity_bytes);
  return {std::make_unique<memory_stream>(state, 0), std::make_unique<memory_stream>(state, 1)};
}

}  // namespace diskdump
