#include "turns.hpp"

namespace diskdump::simulation {

namespace {

// Asio hands a woken coroutine over only when its loop is polled. Now and then is enough, and saves
// most of the system calls; it also lets those that are ready go on for a while without the others.
constexpr std::uint64_t turns_per_poll = 8;

}  // namespace

asio::any_io_executor turns::executor() { return seeded_executor(*this, false); }

asio::any_io_executor turns::disk_executor() { return seeded_executor(*this, true); }

void turns::hold_back(bool held) {
  held_back_ = held;
  if (held) return;
  for (auto& one : waiting_) ready_.push_back(std::move(one));
  waiting_.clear();
}

void turns::poll_loop() {
  loop_.restart();
  loop_.poll();
}

std::unique_ptr<turns::job> turns::choose() {
  std::size_t at = 0;
  switch (policy_) {
    case turn_policy::oldest:
      break;
    case turn_policy::any:
      at = random_.below(ready_.size());
      break;
    case turn_policy::newest:
      at = random_.percent(90) ? ready_.size() - 1 : random_.below(ready_.size());
      break;
  }
  events_.add(at << 32 | ready_.size());
  if (policy_ != turn_policy::oldest) std::swap(ready_[at], ready_.back());
  auto chosen = std::move(policy_ == turn_policy::oldest ? ready_.front() : ready_.back());
  if (policy_ == turn_policy::oldest) {
    ready_.pop_front();
  } else {
    ready_.pop_back();
  }
  return chosen;
}

bool turns::run_one() {
  if (ready_.empty() || taken_ % turns_per_poll == 0) poll_loop();
  if (ready_.empty()) return false;
  ++taken_;
  auto chosen = choose();
  if (taken_ == lose_at_) {
    lost_ = std::move(chosen);
    return true;
  }
  running_ = true;
  chosen->run();
  running_ = false;
  return true;
}

bool turns::loop_is_empty() {
  poll_loop();
  return ready_.empty() && loop_.stopped();
}

}  // namespace diskdump::simulation
