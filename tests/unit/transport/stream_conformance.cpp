#include "stream_conformance.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <random>

#include "async/scope.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "codec/digest.hpp"

namespace diskdump::test {

namespace {

constexpr std::size_t window = limits::channel_window_bytes_max;

task<> feed(stream& to, byte_view bytes) {
  while (!bytes.empty()) {
    auto const n = std::min<std::size_t>(bytes.size(), 300'000);  // not a multiple of any packet
    co_await to.write(bytes.first(n));
    bytes = bytes.subspan(n);
  }
  co_await to.write_eof();
}

task<> take(stream& from, byte_vector& into) { into = co_await read_all(from); }

task<> echo(remote_host& host) {
  auto io = co_await host.exec("cat", window);
  co_await io->write(as_bytes("hello"));
  CHECK(as_text(co_await read_exactly(*io, 5)) == "hello");
  co_await io->write(as_bytes(" again"));
  CHECK(as_text(co_await read_exactly(*io, 6)) == " again");
  co_await io->write_eof();
  std::byte one;
  CHECK(co_await io->read({&one, 1}) == 0);
  auto const report = co_await io->close();
  CHECK(report.status == 0);
  CHECK(!report.signal);
  CHECK(report.stderr_tail.empty());
}

task<> one_direction_each(remote_host& host, std::size_t bytes) {
  auto const content = noise_bytes(bytes, 1);
  auto const wanted = sha256(content).hex();
  {
    auto up = co_await host.exec("sha256sum", window);
    co_await feed(*up, content);
    auto const said = co_await read_all(*up);
    CHECK(as_text(said).substr(0, 64) == wanted);
    CHECK(up->wire_bytes() >= bytes);
    CHECK(up->wire_bytes() < bytes + bytes / 8 + 65536);
    CHECK((co_await up->close()).status == 0);
  }
  {
    auto down = co_await host.exec(format("head -c {} /dev/zero", bytes), window);
    auto const got = co_await read_all(*down);
    CHECK(got.size() == bytes);
    CHECK(is_zero(got));
    CHECK(down->wire_bytes() >= bytes);
    CHECK((co_await down->close()).status == 0);
  }
}

task<> both_directions_at_once(remote_host& host, std::size_t bytes) {
  auto const content = noise_bytes(bytes, 2);
  auto io = co_await host.exec("cat", window);
  byte_vector back;
  scope both(co_await asio::this_coro::executor);
  both.spawn(feed(*io, content));
  both.spawn(take(*io, back));
  co_await both.join();
  CHECK(sha256(back) == sha256(content));
  CHECK((co_await io->close()).status == 0);
}

task<> two_streams(remote_host& host, std::size_t bytes) {
  auto const first_content = noise_bytes(bytes, 3);
  auto const second_content = noise_bytes(bytes, 4);
  auto first = co_await host.exec("cat", window);
  auto second = co_await host.exec("cat", window);
  byte_vector first_back, second_back;
  scope all(co_await asio::this_coro::executor);
  all.spawn(feed(*first, first_content));
  all.spawn(take(*first, first_back));
  all.spawn(feed(*second, second_content));
  all.spawn(take(*second, second_back));
  co_await all.join();
  CHECK(sha256(first_back) == sha256(first_content));
  CHECK(sha256(second_back) == sha256(second_content));
  CHECK((co_await first->close()).status == 0);
  CHECK((co_await second->close()).status == 0);
}

task<> one_reader_sleeps(remote_host& host) {
  // The first stream is not read while the second one moves more than any window.
  auto idle = co_await host.exec("head -c 8000000 /dev/zero", window);
  auto busy = co_await host.exec("head -c 8000000 /dev/zero", window);
  CHECK((co_await read_all(*busy)).size() == 8'000'000);
  CHECK((co_await read_all(*idle)).size() == 8'000'000);
  CHECK((co_await busy->close()).status == 0);
  CHECK((co_await idle->close()).status == 0);
}

task<> big_stderr(remote_host& host) {
  // More stderr than any window or pipe holds, before a byte of stdout.
  auto const outcome = co_await run_command(
      host, "head -c 5000000 /dev/zero >&2; echo the last words >&2; echo out");
  CHECK(outcome.output == "out\n");
  CHECK(outcome.report.status == 0);
  CHECK(outcome.report.stderr_tail.size() == limits::stderr_tail_bytes_max);
  CHECK(outcome.report.stderr_tail.ends_with("the last words\n"));
}

task<> ends(remote_host& host) {
  CHECK((co_await run_command(host, "exit 3")).report.status == 3);
  CHECK((co_await run_command(host, "true")).report.status == 0);
  CHECK((co_await run_command(host, "echo $((6*7)) \"$(echo '  x')\"")).output == "42   x\n");
  auto const missing = co_await run_command(host, "/no/such/program");
  CHECK(missing.report.status == 127);
  CHECK(missing.report.stderr_tail.find("/no/such/program") != std::string::npos);
}

task<> close_while_it_still_writes(remote_host& host) {
  auto io = co_await host.exec("head -c 3000000 /dev/zero; echo done >&2; exit 7", window);
  std::byte some[100];
  CHECK(co_await io->read(some) > 0);
  auto const report = co_await io->close();
  CHECK(report.status == 7);
  CHECK(report.stderr_tail == "done\n");
}

task<> read_until_cancelled(stream& from, bool& aborted) {
  std::byte one;
  try {
    static_cast<void>(co_await from.read({&one, 1}));
  } catch (std::system_error const& e) {
    aborted = e.code() == asio::error::operation_aborted;
    throw;
  }
}

task<> cancelled_read(remote_host& host) {
  auto io = co_await host.exec("cat", window);
  // A round trip first, so that the read below waits for what does not come.
  co_await io->write(as_bytes("x"));
  CHECK((co_await read_exactly(*io, 1)).size() == 1);
  bool aborted = false;
  scope reader(co_await asio::this_coro::executor);
  reader.spawn(read_until_cancelled(*io, aborted));
  reader.cancel();
  try {
    co_await reader.join();
  } catch (std::system_error const&) {
  }
  CHECK(aborted);
  // The stream is whole afterwards.
  co_await io->write(as_bytes("still here"));
  CHECK(as_text(co_await read_exactly(*io, 10)) == "still here");
  CHECK((co_await io->close()).status == 0);
}

task<> dropped_without_close(remote_host& host) {
  for (int i = 0; i < 3; ++i) {
    auto io = co_await host.exec("cat; echo gone", window);
    co_await io->write(as_bytes("x"));
    CHECK((co_await read_exactly(*io, 1)).size() == 1);
  }
  CHECK((co_await run_command(host, "echo after")).output == "after\n");
}

}  // namespace

byte_vector noise_bytes(std::size_t size, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  byte_vector bytes(size);
  for (std::size_t i = 0; i + 8 <= size; i += 8) store_le<std::uint64_t>(&bytes[i], random());
  return bytes;
}

task<byte_vector> read_all(stream& from) {
  byte_vector all;
  byte_vector chunk(limits::stream_read_bytes);
  while (auto const n = co_await from.read(chunk)) append_bytes(all, byte_view(chunk).first(n));
  co_return all;
}

task<byte_vector> read_exactly(stream& from, std::size_t size) {
  byte_vector bytes(size);
  for (std::size_t at = 0; at < size;) {
    auto const n = co_await from.read(byte_span(bytes).subspan(at));
    if (n == 0) throw std::runtime_error("the stream ended early");
    at += n;
  }
  co_return bytes;
}

task<command_outcome> run_command(remote_host& host, std::string command) {
  auto io = co_await host.exec(std::move(command), window);
  co_await io->write_eof();
  command_outcome outcome;
  auto const all = co_await read_all(*io);
  outcome.output = std::string(as_text(all));
  outcome.report = co_await io->close();
  co_return outcome;
}

void check_stream_conformance(test_context& test, remote_host& host, conformance_options options) {
  INFO("host: ", host.description());
  SUBCASE("what is written comes back") { test.run(echo(host)); }
  SUBCASE("much data goes each way whole") { test.run(one_direction_each(host, options.bytes)); }
  SUBCASE("both directions run at once") {
    test.run(both_directions_at_once(host, options.bytes / 4));
  }
  SUBCASE("two streams run at once") { test.run(two_streams(host, options.bytes / 8)); }
  SUBCASE("a stream that nobody reads does not hold up another") {
    test.run(one_reader_sleeps(host));
  }
  SUBCASE("a flood on stderr stops nothing and its tail is kept") { test.run(big_stderr(host)); }
  SUBCASE("exit codes are reported and the command reaches a shell unchanged") {
    test.run(ends(host));
  }
  SUBCASE("close waits for a program that still writes") {
    test.run(close_while_it_still_writes(host));
  }
  SUBCASE("a cancelled read leaves the stream usable") { test.run(cancelled_read(host)); }
  SUBCASE("a stream dropped without close leaves the host usable") {
    test.run(dropped_without_close(host));
  }
}

}  // namespace diskdump::test
