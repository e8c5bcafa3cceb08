// The ring itself, on pipes: a read from an empty pipe stays in flight for as long as a test wants.
#include "io/ring.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <liburing.h>
#include <unistd.h>

#include <array>
#include <string>

#include "async/run_task.hpp"
#include "async/scope.hpp"
#include "async/spawned.hpp"
#include "io/disk.hpp"
#include "io/unique_fd.hpp"

namespace diskdump {

namespace {

struct pipe_ends {
  unique_fd out;
  unique_fd in;
  pipe_ends() {
    int ends[2] = {};
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    out = unique_fd(ends[0]);
    in = unique_fd(ends[1]);
  }
  void write(std::string_view text) {
    REQUIRE(::write(in.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
};

task<> read_pipe(ring& r, int fd, std::string& got, int& result) {
  std::array<char, 64> buffer{};
  iovec part{.iov_base = buffer.data(), .iov_len = buffer.size()};
  result = co_await r.submit(
      [fd, &part](io_uring_sqe& sqe) { ::io_uring_prep_readv(&sqe, fd, &part, 1, 0); });
  if (result > 0) got.assign(buffer.data(), static_cast<std::size_t>(result));
}
task<> nothing_many_times(ring& r, int times, int& done) {
  for (int i = 0; i < times; ++i) {
    if (co_await r.submit([](io_uring_sqe& sqe) { ::io_uring_prep_nop(&sqe); }) == 0) ++done;
  }
}
task<> many_at_once(ring& r, int coroutines, int times, int& done) {
  co_await with_scope([&](scope& s) {
    for (int i = 0; i < coroutines; ++i) s.spawn(nothing_many_times(r, times, done));
  });
}

constexpr std::chrono::seconds seconds{30};  // long enough for any machine

// Runs until nothing is left; a completion may take the kernel a moment.
void run_all(asio::io_context& loop) {
  loop.restart();
  loop.run_for(seconds);
}

bool skipped() {
  if (uring_available()) return false;
  MESSAGE("skipped: no io_uring here");
  return true;
}

}  // namespace

TEST_SUITE("ring") {
  TEST_CASE("an operation gives its result, or the errno of its failure") {
    if (skipped()) return;
    asio::io_context loop;
    ring r(loop.get_executor(), 4);
    pipe_ends p;
    std::string got;
    int result = 0;
    auto const reading = start(loop, read_pipe(r, p.out.get(), got, result));
    CHECK_FALSE(reading->ended);
    CHECK(r.in_flight() == 1);
    p.write("hello");
    run_all(loop);
    CHECK(reading->ended);
    CHECK(got == "hello");
    CHECK(r.in_flight() == 0);
    auto const failing = start(loop, read_pipe(r, p.in.get(), got, result));
    run_all(loop);
    CHECK(failing->ended);
    CHECK(result == -EBADF);
  }

  TEST_CASE("an idle ring does not keep the event loop running") {
    if (skipped()) return;
    asio::io_context loop;
    ring r(loop.get_executor(), 4);
    int done = 0;
    run_task(loop, nothing_many_times(r, 10, done));
    CHECK(done == 10);
    loop.restart();
    CHECK(loop.run_for(seconds) == 0);
  }

  TEST_CASE("more operations than the depth wait their turn") {
    if (skipped()) return;
    asio::io_context loop;
    ring r(loop.get_executor(), 2);
    pipe_ends p;
    std::array<std::string, 5> got;
    std::array<int, 5> results{};
    std::vector<std::unique_ptr<spawned>> readers;
    for (std::size_t i = 0; i < 5; ++i) {
      readers.push_back(start(loop, read_pipe(r, p.out.get(), got[i], results[i])));
    }
    CHECK(r.in_flight() == 2);
    readers[3]->cancel();  // one that waits
    readers[0]->cancel();  // one that is in flight
    settle(loop);
    p.in.reset();  // the end of the stream for all others
    run_all(loop);
    for (auto const& reader : readers) CHECK(reader->ended);
    CHECK(readers[0]->aborted());
    CHECK(readers[3]->aborted());
    CHECK_FALSE(readers[4]->failure);
  }

  TEST_CASE("thousands of operations pass a small ring") {
    if (skipped()) return;
    asio::io_context loop;
    ring r(loop.get_executor(), 4);
    int done = 0;
    run_task(loop, many_at_once(r, 50, 100, done));
    CHECK(done == 5000);
  }

  TEST_CASE("a cancelled operation ends when the kernel has let go, and takes nothing") {
    if (skipped()) return;
    asio::io_context loop;
    ring r(loop.get_executor(), 4);
    pipe_ends p;
    std::string got;
    int result = 0;
    for (int round = 0; round < 50; ++round) {
      auto const reading = start(loop, read_pipe(r, p.out.get(), got, result));
      reading->cancel();
      reading->cancel();
      run_all(loop);
      CHECK(reading->aborted());
      CHECK(r.in_flight() == 0);
    }
    auto const reading = start(loop, read_pipe(r, p.out.get(), got, result));
    p.write("all of it");
    run_all(loop);
    CHECK(got == "all of it");
  }

  TEST_CASE("a ring may go while its last notification is still under way") {
    if (skipped()) return;
    asio::io_context loop;
    {
      ring r(loop.get_executor(), 4);
      pipe_ends p;
      std::string got;
      int result = 0;
      auto const first = start(loop, read_pipe(r, p.out.get(), got, result));
      auto const second = start(loop, read_pipe(r, p.out.get(), got, result));
      p.write("x");
      // Which of the two gets the byte is the kernel's choice; the other one is cancelled.
      while (!first->ended && !second->ended) REQUIRE(loop.run_one_for(seconds) == 1);
      (first->ended ? second : first)->cancel();
      while (!first->ended || !second->ended) REQUIRE(loop.run_one_for(seconds) == 1);
    }
    run_all(loop);
    CHECK(loop.stopped());
  }

  TEST_CASE("an event loop that is destroyed takes an operation in flight back from the kernel") {
    if (skipped()) return;
    pipe_ends p;
    std::string got;
    int result = 0;
    struct owner {
      static task<> read(asio::any_io_executor executor, int fd, std::string& text, int& n) {
        ring mine(std::move(executor), 2);
        co_await read_pipe(mine, fd, text, n);
      }
    };
    {
      asio::io_context loop;
      auto const reading = start(loop, owner::read(loop.get_executor(), p.out.get(), got, result));
      CHECK_FALSE(reading->ended);
      reading->signal.slot().clear();
      // The loop goes first; the coroutine's frame goes with it.
      asio::co_spawn(loop, owner::read(loop.get_executor(), p.out.get(), got, result),
                     [](std::exception_ptr) {});
      settle(loop);
    }
    p.write("untouched");
    std::array<char, 16> left{};
    CHECK(::read(p.out.get(), left.data(), left.size()) == 9);
  }
}

}  // namespace diskdump
