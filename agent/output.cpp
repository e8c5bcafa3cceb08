#include "agent/output.hpp"

#include <cerrno>
#include <utility>

#include "agent/agent_errc.hpp"
#include "base/assert.hpp"
#include "base/limits.hpp"

namespace diskdump {

output::output(asio::any_io_executor executor, int fd, agent_session& session)
    : descriptor_(executor), session_(session), work_(executor), progress_(executor) {
  asio::error_code failed;
  descriptor_.assign(fd, failed);
  if (!failed) descriptor_.non_blocking(true, failed);
  if (failed) throw error(agent_errc::bad_descriptor, severity::permanent).cause("stdout");
}

void output::flush_session() {
  auto const made = session_.take_output();
  if (made.empty()) return;
  append_bytes(control_, made);
  work_.wake_one();
}

task<> output::room() {
  while (control_.size() >= limits::control_output_bytes_max) co_await progress_.wait();
}

task<> output::write(std::vector<ready_block> blocks) {
  queued_ever_ += blocks.size();
  auto const mine = queued_ever_;
  for (auto& block : blocks) queued_.push_back(std::move(block));
  work_.wake_one();
  // Blocks are written in the order in which they were queued.
  while (written_ever_ < mine) co_await progress_.wait();
}

void output::discard() {
  written_ever_ += queued_.size();
  queued_.clear();
}

void output::finish() {
  finished_ = true;
  work_.wake_one();
}

task<> output::run() {
  for (;;) {
    while (control_.empty() && queued_.empty()) {
      if (finished_) co_return;
      co_await work_.wait();
    }
    gather();
    co_await write_pieces();
    written_ever_ += now_.blocks.size();
    now_.blocks.clear();
    progress_.wake_all();
  }
}

void output::add_piece(byte_view bytes) {
  // iovec is shared with readv and lacks the const; nothing writes through it here.
  now_.pieces.push_back({const_cast<std::byte*>(bytes.data()), bytes.size()});
}

void output::gather() {
  now_.control.clear();
  now_.headers.clear();
  now_.pieces.clear();
  std::swap(now_.control, control_);
  if (!now_.control.empty()) add_piece(now_.control);
  constexpr auto header_bytes = limits::frame_header_bytes + limits::block_header_bytes;
  // The pieces point into the headers, which must not move.
  now_.headers.reserve(limits::write_blocks_max * header_bytes);
  std::size_t bytes = 0;
  while (!queued_.empty() && now_.blocks.size() < limits::write_blocks_max &&
         bytes < limits::write_bytes_max) {
    auto& block = now_.blocks.emplace_back(std::move(queued_.front()));
    queued_.pop_front();
    auto const at = now_.headers.size();
    session_.block(block.header, block.payload_bytes, now_.headers);
    DISKDUMP_ASSERT(now_.headers.size() == at + header_bytes);
    add_piece(byte_view(now_.headers).subspan(at));
    add_piece(block.slot.bytes().first(block.payload_bytes));
    bytes += block.payload_bytes;
  }
}

task<> output::write_pieces() {
  std::span<iovec> left(now_.pieces);
  while (!left.empty()) {
    auto const written =
        ::writev(descriptor_.native_handle(), left.data(), static_cast<int>(left.size()));
    if (written < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) throw errno_error(errno, "write to the server");
      co_await descriptor_.async_wait(asio::posix::descriptor_base::wait_write,
                                      asio::use_awaitable);
      continue;
    }
    auto rest = static_cast<std::size_t>(written);
    while (!left.empty() && rest >= left.front().iov_len) {
      rest -= left.front().iov_len;
      left = left.subspan(1);
    }
    if (rest > 0) {
      left.front().iov_base = static_cast<std::byte*>(left.front().iov_base) + rest;
      left.front().iov_len -= rest;
    }
  }
}

}  // namespace diskdump
