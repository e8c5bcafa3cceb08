#include "io/ring.hpp"

#include <liburing.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "async/fifo_semaphore.hpp"
#include "base/assert.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "io/io_errc.hpp"

namespace diskdump {

namespace {

error ring_error(int errno_value, std::string_view what) {
  return error(io_errc::ring_failed, severity::permanent)
      .cause(format("{}: {}", what, std::generic_category().message(errno_value)));
}

// Entries for every operation and a cancellation of each, so that neither queue can be full.
unsigned ring_entries(unsigned queue_depth) { return 2 * queue_depth; }

}  // namespace

// One operation, in the frame of the coroutine that waits for it. The kernel knows its address as
// user_data; it must not go before the kernel has let go.
struct ring::operation {
  explicit operation(asio::any_io_executor const& executor) : completed(executor) {
    completed.expires_at(asio::steady_timer::time_point::max());
  }
  asio::steady_timer completed;  // never expires; cancelling it is the wake
  int result = 0;
  bool in_flight = false;
  bool cancel_sent = false;
};

class ring::state : public std::enable_shared_from_this<ring::state> {
 public:
  state(asio::any_io_executor const& executor, unsigned queue_depth)
      : slots(executor, queue_depth), executor_(executor), notified_(executor) {
    DISKDUMP_ASSERT(queue_depth > 0);
    io_uring_params parameters{};
    parameters.flags = IORING_SETUP_CLAMP | IORING_SETUP_COOP_TASKRUN;
    int failed = ::io_uring_queue_init_params(ring_entries(queue_depth), &uring_, &parameters);
    if (failed == -EINVAL) {  // before 5.19
      parameters = {};
      failed = ::io_uring_queue_init_params(ring_entries(queue_depth), &uring_, &parameters);
    }
    if (failed < 0) throw ring_error(-failed, "io_uring_setup");
    int const event = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (event < 0) {
      auto const failure = ring_error(errno, "eventfd");
      ::io_uring_queue_exit(&uring_);
      throw failure;
    }
    failed = ::io_uring_register_eventfd(&uring_, event);
    asio::error_code ec;
    if (failed == 0) notified_.assign(event, ec);
    if (failed < 0 || ec) {
      auto const failure =
          failed < 0 ? ring_error(-failed, "register eventfd") : ring_error(ec.value(), "epoll");
      ::io_uring_queue_exit(&uring_);
      ::close(event);
      throw failure;
    }
  }
  ~state() { close(); }
  state(state const&) = delete;
  state& operator=(state const&) = delete;

  // Idempotent. A pending wait ends with operation_aborted and finds the ring closed.
  void close() noexcept {
    if (closed_) return;
    closed_ = true;
    DISKDUMP_ASSERT(in_flight_ == 0);
    ::io_uring_queue_exit(&uring_);
    asio::error_code ignored;
    notified_.close(ignored);
  }

  void start(operation& op, prepare const& fill) {
    auto* const sqe = entry();
    fill(*sqe);
    ::io_uring_sqe_set_data(sqe, &op);
    // A ring that cannot submit is never entered again, so the kernel does not see this entry.
    if (int const failed = flush(); failed < 0) throw ring_error(-failed, "io_uring_enter");
    op.in_flight = true;
    ++in_flight_;
    wait_for_notification();
  }

  void cancel(operation& op) noexcept {
    if (!op.in_flight || std::exchange(op.cancel_sent, true)) return;
    if (broken_ != 0) return;  // it completes by itself
    auto* const sqe = entry();
    ::io_uring_prep_cancel(sqe, &op, 0);
    ::io_uring_sqe_set_data(sqe, nullptr);
    (void)flush();
  }

  // For a frame that is destroyed while its operation is in flight: the one place that blocks.
  void abandon(operation& op) noexcept {
    cancel(op);
    while (op.in_flight) {
      io_uring_cqe* cqe = nullptr;
      int const failed = ::io_uring_wait_cqe(&uring_, &cqe);
      DISKDUMP_ASSERT(failed == 0 || failed == -EINTR || failed == -EAGAIN);
      reap();
    }
  }

  [[nodiscard]] unsigned in_flight() const noexcept { return in_flight_; }
  [[nodiscard]] asio::any_io_executor const& executor() const noexcept { return executor_; }

  fifo_semaphore slots;  // one per operation in flight

 private:
  // The next free submission entry. Each entry is submitted at once, so there always is one.
  io_uring_sqe* entry() {
    if (broken_ != 0) throw ring_error(broken_, "io_uring_enter");
    auto* sqe = ::io_uring_get_sqe(&uring_);
    if (sqe == nullptr) {
      (void)flush();
      sqe = ::io_uring_get_sqe(&uring_);
    }
    DISKDUMP_ASSERT(sqe != nullptr);
    return sqe;
  }

  // Hands all entries to the kernel. Where it is short of memory or its queue is full, completions
  // are taken and it is asked again, for a moment; after that the ring counts as broken.
  int flush() noexcept {
    int failed = 0;
    for (unsigned attempt = 0; attempt < limits::ring_submit_attempts_max; ++attempt) {
      failed = ::io_uring_submit(&uring_);
      if (failed >= 0 && ::io_uring_sq_ready(&uring_) == 0) return 0;
      if (failed >= 0 || failed == -EINTR) continue;
      if (failed != -EAGAIN && failed != -EBUSY && failed != -ENOMEM) break;
      reap();
      std::this_thread::sleep_for(limits::ring_submit_pause);
    }
    broken_ = failed < 0 ? -failed : EAGAIN;
    return -broken_;
  }

  // Takes completions until there are none: notifications merge.
  void reap() noexcept {
    io_uring_cqe* cqe = nullptr;
    while (::io_uring_peek_cqe(&uring_, &cqe) == 0 && cqe != nullptr) {
      auto* const op = static_cast<operation*>(::io_uring_cqe_get_data(cqe));
      int const result = cqe->res;
      ::io_uring_cqe_seen(&uring_, cqe);
      if (op == nullptr) continue;  // the answer to a cancellation
      op->result = result;
      op->in_flight = false;
      --in_flight_;
      op->completed.cancel();
    }
  }

  // A plain handler that holds this state, armed only while something is in flight.
  void wait_for_notification() {
    if (waiting_ || closed_ || in_flight_ == 0) return;
    waiting_ = true;
    notified_.async_wait(asio::posix::stream_descriptor::wait_read, [self = shared_from_this()](
                                                                        asio::error_code) {
      self->waiting_ = false;
      if (self->closed_) return;
      std::uint64_t count = 0;
      // The counter goes to zero before the queue is drained, so that a
      // completion in between is announced again.
      while (::read(self->notified_.native_handle(), &count, sizeof count) < 0 && errno == EINTR) {
      }
      self->reap();
      self->wait_for_notification();
    });
  }

  asio::any_io_executor executor_;
  asio::posix::stream_descriptor notified_;
  io_uring uring_{};
  unsigned in_flight_ = 0;
  int broken_ = 0;
  bool waiting_ = false;
  bool closed_ = false;
};

ring::ring(asio::any_io_executor executor, unsigned queue_depth)
    : state_(std::make_shared<state>(executor, queue_depth)) {}

ring::~ring() { state_->close(); }

unsigned ring::in_flight() const noexcept { return state_->in_flight(); }

task<int> ring::submit(prepare fill) {
  auto const shared = state_;
  co_await shared->slots.acquire(1);
  struct turn {
    state& owner;
    operation op;
    ~turn() {
      if (op.in_flight) owner.abandon(op);
      owner.slots.release(1);
    }
  } mine{*shared, operation(shared->executor())};
  auto& op = mine.op;
  shared->start(op, fill);

  // A cancellation wakes the wait, but only the kernel's answer ends it.
  bool const throws = co_await asio::this_coro::throw_if_cancelled();
  co_await asio::this_coro::throw_if_cancelled(false);
  while (op.in_flight) {
    asio::error_code ignored;
    co_await op.completed.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    if (op.in_flight && (co_await asio::this_coro::cancellation_state).cancelled() !=
                            asio::cancellation_type::none) {
      shared->cancel(op);
    }
  }
  co_await asio::this_coro::throw_if_cancelled(throws);
  if ((co_await asio::this_coro::cancellation_state).cancelled() != asio::cancellation_type::none) {
    throw std::system_error(asio::error::make_error_code(asio::error::operation_aborted));
  }
  co_return op.result;
}

}  // namespace diskdump
