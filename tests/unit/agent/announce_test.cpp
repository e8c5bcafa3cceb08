// Announcing and writing, against a session of the server at the other end of a pipe.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "agent/digest.hpp"
#include "agent/output.hpp"
#include "agent/read.hpp"
#include "agent/send.hpp"
#include "agent_driver.hpp"
#include "async/scope.hpp"
#include "base/limits.hpp"
#include "io/fault_disk.hpp"
#include "io/memory_disk.hpp"
#include "run_task.hpp"
#include "wire/server_session.hpp"

namespace diskdump {
namespace {

TEST_SUITE_BEGIN("agent announcements");

constexpr std::uint32_t block = limits::block_bytes_min;
constexpr std::uint64_t sector = 512;

start_message small_start(std::uint32_t batch_blocks) {
  start_message start;
  start.path = "x";
  start.block_bytes = block;
  start.batch_blocks = batch_blocks;
  return start;
}

// The agent's stages with a disk of the test's, and the server's session, which reads their pipe.
struct bench {
  asio::io_context loop;
  manual_timer_source timers{loop.get_executor()};
  start_message start;
  block_geometry geometry;
  agent_session session;
  server_session server;
  int read_end = -1;
  buffer_pool slots;
  hold held;
  std::unique_ptr<output> out;
  std::vector<server_session::event> events;

  bench(std::uint64_t image_bytes, std::uint32_t batch)
      : start(small_start(batch)),
        geometry{image_bytes, block},
        server(session_nonce{}, start),
        slots(loop.get_executor(), block, batch),
        held(loop.get_executor(), batch) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    ::fcntl(ends[1], F_SETPIPE_SZ, limits::pipe_bytes);
    ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
    read_end = ends[0];
    out = std::make_unique<output>(loop.get_executor(), ends[1], session);
    session.hello({.nonce = {}, .version = protocol_version, .self_digest = {}, .build = "test"});
    pass();
    server.start();
    hear();
    session.source({.image_bytes = image_bytes, .identity = ""});
    pass();
  }
  ~bench() { ::close(read_end); }

  // What the agent said so far reaches the server: runs the output until it is in the pipe.
  void pass() {
    out->flush_session();
    bool ended = false;
    asio::cancellation_signal cancel;
    asio::co_spawn(
        loop, out->run(),
        asio::bind_cancellation_slot(cancel.slot(), [&](std::exception_ptr) { ended = true; }));
    loop.restart();
    loop.poll();
    cancel.emit(asio::cancellation_type::terminal);
    loop.restart();
    loop.poll();
    REQUIRE(ended);
    drain();
  }
  void drain() {
    byte_vector bytes(limits::pipe_bytes);
    for (;;) {
      auto const got = ::read(read_end, bytes.data(), bytes.size());
      if (got <= 0) break;
      byte_view fresh = byte_view(bytes).first(static_cast<std::size_t>(got));
      while (auto event = server.feed(fresh)) events.push_back(std::move(*event));
    }
  }
  // What the server said reaches the agent.
  void hear() {
    auto const said = server.take_output();
    byte_view fresh(said);
    while (auto event = session.feed(fresh)) {
      if (auto const* const verdicts = std::get_if<std::vector<block_verdict>>(&*event)) {
        for (auto const& verdict : *verdicts) held.apply(verdict);
      }
    }
  }
  template <class Message>
  std::vector<Message> said() const {
    std::vector<Message> all;
    for (auto const& event : events) {
      if (auto const* const m = std::get_if<Message>(&event)) all.push_back(*m);
    }
    return all;
  }
};

TEST_CASE("zero blocks are collected into one run, but for no longer than the interval") {
  bench b(1000 * block, 16);
  announcer announce(b.geometry, block_index{0}, b.timers.clock(), b.session, *b.out, b.held);
  std::uint64_t next = 0;
  auto const zeros = [&](std::uint64_t count) {
    read_group group;
    group.first = block_index{next};
    for (std::uint64_t i = 0; i < count; ++i) group.slots.push_back(b.slots.try_acquire());
    next += count;
    run_task(b.loop, announce.add(std::move(group),
                                  std::vector<announcer::block_outcome>(count, std::nullopt)));
    CHECK(b.slots.free_slots() == 16);
  };
  for (int i = 0; i < 10; ++i) zeros(8);
  b.pass();
  CHECK(b.said<digests_message>().empty());
  b.timers.advance(limits::progress_interval);
  zeros(8);
  b.pass();
  auto const told = b.said<digests_message>();
  REQUIRE(told.size() == 1);
  REQUIRE(told[0].runs.size() == 1);
  CHECK(told[0].runs[0].kind == run_kind::zeros);
  CHECK(told[0].runs[0].blocks.value == 88);
}

TEST_CASE("blocks that are as expected give back their slots, and are told together") {
  constexpr std::uint32_t group_blocks = 8;
  bench b(1000 * block, group_blocks);
  auto const id = sha256(as_bytes("as it was"));
  b.server.expect(block_index{0}, std::vector<block_id>(500, id));
  b.hear();
  announcer announce(b.geometry, block_index{0}, b.timers.clock(), b.session, *b.out, b.held);
  std::uint64_t next = 0;
  auto const add = [&](block_id const& last) {
    read_group group;
    group.first = block_index{next};
    for (std::uint32_t i = 0; i < group_blocks; ++i) group.slots.push_back(b.slots.try_acquire());
    std::vector<announcer::block_outcome> outcomes(group_blocks, id);
    outcomes.back() = last;
    next += group_blocks;
    run_task(b.loop, announce.add(std::move(group), std::move(outcomes)));
    b.pass();
  };
  auto const told = [&] { return b.said<digests_message>().size(); };
  for (std::uint64_t i = group_blocks; i < limits::expected_report_blocks; i += group_blocks) {
    add(id);
    CHECK(b.slots.free_slots() == group_blocks);
    CHECK(told() == 0);
  }
  add(id);
  CHECK(told() == 1);
  CHECK(b.server.announced().next().value == limits::expected_report_blocks);
  // A block that changed is told at once, and what was collected with it.
  add(id);
  CHECK(told() == 1);
  add(sha256(as_bytes("changed")));
  CHECK(told() == 2);
  CHECK(b.held.held() == 1);
  CHECK(b.server.unanswered() == 1);
  CHECK(b.server.announced().next().value == next);
  // No block waits longer than the interval to be told, however slowly they are read.
  std::vector<verdict> const have(1, verdict::have);
  b.server.answer(have);
  b.hear();
  b.timers.advance(limits::progress_interval);
  add(id);
  CHECK(told() == 3);
  CHECK(b.slots.free_slots() == group_blocks);
}

TEST_CASE("data is announced at once, with the zeros before it") {
  bench b(100 * block, 16);
  announcer announce(b.geometry, block_index{0}, b.timers.clock(), b.session, *b.out, b.held);
  read_group hole;
  hole.hole = block_count{20};
  run_task(b.loop, announce.add(std::move(hole), {}));
  read_group data;
  data.first = block_index{20};
  for (int i = 0; i < 3; ++i) data.slots.push_back(b.slots.try_acquire());
  auto const id = sha256(as_bytes("x"));
  run_task(b.loop, announce.add(std::move(data), {id, std::nullopt, id}));
  b.pass();
  auto const told = b.said<digests_message>();
  REQUIRE(told.size() == 1);
  REQUIRE(told[0].runs.size() == 4);
  CHECK(told[0].runs[0].kind == run_kind::hole);
  CHECK(told[0].runs[0].blocks.value == 20);
  CHECK(told[0].runs[1].id == id);
  CHECK(told[0].runs[2].kind == run_kind::zeros);
  CHECK(b.held.held() == 2);
  CHECK(b.slots.free_slots() == 14);
  // The server wants the first, which is written from its slot; then the slot is free.
  verdict const verdicts[] = {verdict::need, verdict::have};
  b.server.answer(verdicts);
  b.hear();
  CHECK(b.slots.free_slots() == 15);
}

task<> dump(bench& b, disk& source, worker_pool& workers, bool skip_bad_sectors) {
  auto const executor = co_await asio::this_coro::executor;
  asio_timer_source timers;
  rate_limiter limiter(timers, 0);
  image_reader reader(executor, source, b.slots, limiter,
                      {b.geometry, block_index{0}, b.start.batch_blocks, skip_bad_sectors});
  announcer announce(b.geometry, block_index{0}, timers.clock(), b.session, *b.out, b.held);
  auto groups = make_channel<read_group>(executor, 1);
  auto const policy = codec_policy::lz4;
  co_await with_scope([&](scope& stages) {
    stages.spawn(reader.run(std::move(groups.first)));
    stages.spawn(
        digest_stage(executor, workers, b.geometry, std::move(groups.second), announce, b.held));
    stages.spawn(send_stage(workers, block, policy, b.held, *b.out));
  });
  b.session.end(reader.read_bytes());
  b.out->flush_session();
  b.out->finish();
}

TEST_CASE("bad ranges that touch are told as one, and the image has zeros there") {
  auto const content = random_bytes(40 * block, 1);
  bench b(content.size(), 8);
  fault_disk source(b.loop.get_executor(), std::make_unique<memory_disk>(content));
  source.fail_reads(2 * block + sector, sector);
  // Over the border of two requests.
  source.fail_reads(4 * block - sector, 3 * sector);
  source.fail_reads(39 * block, block);
  worker_pool workers(2);
  int ended = 0;
  auto const count = [&](std::exception_ptr e) {
    CHECK(e == nullptr);
    ++ended;
  };
  asio::co_spawn(b.loop, b.out->run(), count);
  asio::co_spawn(b.loop, dump(b, source, workers, true), count);
  auto expected = content;
  for (auto const& [at, length] : {std::pair{2 * block + sector, sector},
                                   {4 * block - sector, 3 * sector},
                                   {39ul * block, std::uint64_t{block}}}) {
    std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(at), length, std::byte{0});
  }
  block_decompressor decompressor;
  byte_vector received(content.size());
  std::size_t seen = 0;
  for (auto const deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
       ended < 2 && std::chrono::steady_clock::now() < deadline;) {
    b.loop.restart();
    b.loop.run_for(std::chrono::milliseconds(1));
    b.drain();
    for (; seen < b.events.size(); ++seen) {
      if (auto const* const m = std::get_if<digests_message>(&b.events[seen])) {
        std::vector<verdict> verdicts;
        for (auto const& run : m->runs) {
          if (run.kind == run_kind::data) verdicts.push_back(verdict::need);
        }
        if (!verdicts.empty()) b.server.answer(verdicts);
      } else if (auto const* const r = std::get_if<block_received>(&b.events[seen])) {
        decompressor.decompress(
            r->codec, r->payload,
            byte_span(received).subspan(b.geometry.offset_bytes(r->index), r->raw_bytes));
      }
    }
    b.hear();
  }
  CHECK(ended == 2);
  CHECK(b.server.has_ended());
  CHECK(received == expected);
  // Each part comes before its blocks, so a range may come in several.
  std::vector<bad_range_message> bad;
  for (auto const& part : b.said<bad_range_message>()) {
    if (!bad.empty() && bad.back().offset_bytes + bad.back().length_bytes == part.offset_bytes) {
      bad.back().length_bytes += part.length_bytes;
    } else {
      bad.push_back(part);
    }
  }
  REQUIRE(bad.size() == 3);
  CHECK(bad[0].offset_bytes == 2 * block + sector);
  CHECK(bad[0].length_bytes == sector);
  CHECK(bad[1].offset_bytes == 4 * block - sector);
  CHECK(bad[1].length_bytes == 3 * sector);
  CHECK(bad[2].offset_bytes == 39 * block);
  CHECK(bad[2].length_bytes == block);
  CHECK(b.slots.free_slots() == 8);
}

TEST_CASE("a writer that waits for a full pipe can be cancelled, and the slots come back") {
  bench b(400 * block, 300);
  announcer announce(b.geometry, block_index{0}, b.timers.clock(), b.session, *b.out, b.held);
  auto const id = sha256(as_bytes("y"));
  read_group group;
  for (int i = 0; i < 300; ++i) group.slots.push_back(b.slots.try_acquire());
  run_task(b.loop, announce.add(std::move(group), std::vector<announcer::block_outcome>(
                                                      300, announcer::block_outcome(id))));
  b.pass();
  std::vector<verdict> const need(300, verdict::need);
  b.server.answer(need);
  b.hear();
  auto taken = run_task(b.loop, b.held.take_needed(300));
  REQUIRE(taken.size() == 300);
  std::vector<ready_block> ready;
  for (auto& one : taken) {
    ready.push_back({{one.index, block_codec::raw, block}, block, std::move(one.slot)});
  }
  taken.clear();
  // 300 × 4 KiB and their headers are more than the pipe's 1 MiB.
  asio::cancellation_signal cancel;
  int ended = 0;
  auto const both = [](bench& all, std::vector<ready_block> blocks) -> task<> {
    co_await with_scope([&](scope& s) {
      s.spawn(all.out->run());
      s.spawn(all.out->write(std::move(blocks)));
    });
  };
  asio::co_spawn(b.loop, both(b, std::move(ready)),
                 asio::bind_cancellation_slot(cancel.slot(), [&](std::exception_ptr e) {
                   CHECK(e != nullptr);
                   ++ended;
                 }));
  b.loop.restart();
  b.loop.poll();
  CHECK(ended == 0);
  CHECK(b.slots.free_slots() > 0);
  cancel.emit(asio::cancellation_type::terminal);
  b.loop.restart();
  b.loop.poll();
  CHECK(ended == 1);
  b.out.reset();
  CHECK(b.slots.free_slots() == 300);
}

TEST_SUITE_END();

}  // namespace
}  // namespace diskdump
