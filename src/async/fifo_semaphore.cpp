#include "async/fifo_semaphore.hpp"

#include "base/assert.hpp"

namespace diskdump {

// A waiter's place in the queue. When its coroutine leaves without the units (cancelled, or its
// frame destroyed), the place is given up, and units that were granted meanwhile go on.
class fifo_semaphore::place {
 public:
  place(fifo_semaphore& semaphore, request& mine, queue_place where)
      : semaphore_(semaphore), mine_(mine) {
    auto& queue = semaphore_.queue_;
    position_ = queue.insert(where == queue_place::first ? queue.begin() : queue.end(), &mine_);
    semaphore_.grant();  // a small one may fit where the one before which it stands does not
  }
  ~place() {
    if (claimed_) return;
    if (mine_.granted) {
      semaphore_.release(mine_.units);
    } else {
      semaphore_.queue_.erase(position_);
      semaphore_.grant();  // those behind may fit where this one did not
    }
  }
  place(place const&) = delete;
  place& operator=(place const&) = delete;
  void claim() noexcept { claimed_ = true; }

 private:
  fifo_semaphore& semaphore_;
  request& mine_;
  std::list<request*>::iterator position_;
  bool claimed_ = false;
};

fifo_semaphore::~fifo_semaphore() { DISKDUMP_ASSERT(queue_.empty()); }

void fifo_semaphore::grant() noexcept {
  while (!queue_.empty() && queue_.front()->units <= available_) {
    auto& head = *queue_.front();
    queue_.pop_front();
    available_ -= head.units;
    head.granted = true;
    head.ready.wake_one();
  }
}

void fifo_semaphore::release(std::uint64_t units) noexcept {
  available_ += units;
  grant();
}

bool fifo_semaphore::try_acquire(std::uint64_t units) noexcept {
  if (!queue_.empty() || units > available_) return false;
  available_ -= units;
  return true;
}

task<> fifo_semaphore::acquire(std::uint64_t units, queue_place where) {
  if (try_acquire(units)) co_return;
  request mine(executor_, units);
  place waiting(*this, mine, where);
  while (!mine.granted) co_await mine.ready.wait();
  waiting.claim();
}

}  // namespace diskdump
