#include "transport/memory_stream.hpp"

#include <doctest/doctest.h>

#include "async/scope.hpp"
#include "stream_conformance.hpp"

namespace diskdump::test {

namespace {

task<> send(stream& to, byte_view bytes) {
  co_await to.write(bytes);
  co_await to.write_eof();
}
task<> receive(stream& from, byte_vector& into) { into = co_await read_all(from); }

task<> through(memory_stream_pair& pair, byte_view bytes, byte_vector& got) {
  scope both(co_await asio::this_coro::executor);
  both.spawn(send(*pair.first, bytes));
  both.spawn(receive(*pair.second, got));
  co_await both.join();
}

task<> read_one(stream& from) {
  std::byte one;
  static_cast<void>(co_await from.read({&one, 1}));
}

task<> stalled(memory_stream_pair& pair) {
  pair.second->stall();
  co_await pair.first->write(as_bytes("x"));
  scope reader(co_await asio::this_coro::executor);
  reader.spawn(read_one(*pair.second));
  co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
  CHECK(reader.running() == 1);
  pair.second->resume();
  co_await reader.join();
}

task<> dropped_reader(memory_stream_pair& pair) {
  pair.second.reset();
  co_await pair.first->write(as_bytes("x"));
}

task<> dropped_writer(memory_stream_pair& pair) {
  co_await pair.first->write(as_bytes("rest"));
  pair.first.reset();
  CHECK(as_text(co_await read_all(*pair.second)) == "rest");
}

}  // namespace

TEST_SUITE("memory_stream") {
  TEST_CASE("bytes pass whole through a pair with little room") {
    test_context test;
    auto pair = make_memory_stream_pair(test.loop.get_executor(), 7);
    auto const bytes = noise_bytes(100'000, 1);
    byte_vector got;
    test.run(through(pair, bytes, got));
    CHECK(got == bytes);
    CHECK(pair.first->wire_bytes() == bytes.size());
  }

  TEST_CASE("a cut connection fails at exactly that byte, on both ends") {
    test_context test;
    auto pair = make_memory_stream_pair(test.loop.get_executor(), 1000);
    pair.second->cut_after(3);
    test.run(pair.first->write(as_bytes("hello")));
    CHECK(as_text(test.run(read_exactly(*pair.second, 3))) == "hel");
    auto const failure = test.failure_of(read_exactly(*pair.second, 1));
    CHECK(failure.code() == transport_errc::connection_lost);
    CHECK_THROWS_AS(test.run(pair.first->write(as_bytes("x"))), error);
  }

  TEST_CASE("a stalled end reads nothing until it is resumed") {
    test_context test;
    auto pair = make_memory_stream_pair(test.loop.get_executor(), 10);
    test.run(stalled(pair));
  }

  TEST_CASE("a read can be limited to single bytes") {
    test_context test;
    auto pair = make_memory_stream_pair(test.loop.get_executor(), 10);
    pair.second->read_at_most(1);
    test.run(pair.first->write(as_bytes("ab")));
    byte_vector two(2);
    CHECK(test.run(pair.second->read(two)) == 1);
  }

  TEST_CASE("dropping an end is the end of the stream for a reader and an error for a writer") {
    test_context test;
    auto pair = make_memory_stream_pair(test.loop.get_executor(), 10);
    test.run(dropped_writer(pair));
    auto other = make_memory_stream_pair(test.loop.get_executor(), 10);
    CHECK_THROWS_AS(test.run(dropped_reader(other)), error);
  }

  TEST_CASE("what one end sets as its exit is what closing the other reports") {
    test_context test;
    auto pair = make_memory_stream_pair(test.loop.get_executor(), 10);
    pair.first->set_exit({3, std::nullopt, "oh"});
    auto const report = test.run(pair.second->close());
    CHECK(report.status == 3);
    CHECK(report.stderr_tail == "oh");
  }
}

}  // namespace diskdump::test
