#include "async/timer.hpp"

#include <algorithm>

namespace diskdump {

task<> asio_timer_source::sleep(std::chrono::steady_clock::duration duration) {
  asio::steady_timer timer(co_await asio::this_coro::executor, duration);
  co_await timer.async_wait(asio::use_awaitable);
}

task<> manual_timer_source::sleep(std::chrono::steady_clock::duration duration) {
  auto const due = clock_.now() + duration;
  if (duration <= duration.zero()) co_return;
  wait_list list(executor_);
  struct registration {
    std::multimap<clock_source::steady, wait_list*>& all;
    std::multimap<clock_source::steady, wait_list*>::iterator at;
    ~registration() { all.erase(at); }
  } const registered{sleepers_, sleepers_.emplace(due, &list)};
  while (clock_.now() < due) co_await list.wait();
}

void manual_timer_source::advance(std::chrono::steady_clock::duration duration) {
  // Only this thread writes it.
  clock_.passed = clock_.passed.load() + duration;
  for (auto const& [due, list] : sleepers_) {
    if (due > clock_.now()) break;
    list->wake_all();
  }
}

bool manual_timer_source::advance_to_next() {
  if (sleepers_.empty()) return false;
  // One whose time has come already is being woken, and only has to run.
  auto const due = sleepers_.begin()->first;
  advance(std::max(due - clock_.now(), std::chrono::steady_clock::duration::zero()));
  return true;
}

}  // namespace diskdump
