#include "async/wait_list.hpp"

#include "base/assert.hpp"

namespace diskdump {

// Takes the waiter off the list when its coroutine leaves wait(), also when the frame is destroyed.
class wait_list::registration {
 public:
  registration(wait_list& list, waiter& w) : list_(list), waiter_(w) {
    position_ = list_.waiters_.insert(list_.waiters_.end(), &waiter_);
  }
  ~registration() {
    if (!waiter_.woken) list_.waiters_.erase(position_);
  }
  registration(registration const&) = delete;
  registration& operator=(registration const&) = delete;

 private:
  wait_list& list_;
  waiter& waiter_;
  std::list<waiter*>::iterator position_;
};

wait_list::~wait_list() { DISKDUMP_ASSERT(waiters_.empty()); }

task<> wait_list::wait() {
  waiter self(executor_);
  self.timer.expires_at(asio::steady_timer::time_point::max());
  registration const registered(*this, self);
  asio::error_code ignored;
  co_await self.timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  auto const cancelled = (co_await asio::this_coro::cancellation_state).cancelled();
  if (cancelled != asio::cancellation_type::none) {
    // A wake meant for a waiter that can no longer use it must reach the next one.
    if (self.woken) wake_one();
    throw std::system_error(asio::error::make_error_code(asio::error::operation_aborted));
  }
}

void wait_list::wake_one() {
  if (waiters_.empty()) return;
  auto* const w = waiters_.front();
  waiters_.pop_front();
  w->woken = true;
  w->timer.cancel();
}

void wait_list::wake_all() {
  while (!waiters_.empty()) wake_one();
}

}  // namespace diskdump
