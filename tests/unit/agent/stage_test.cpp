// The stages on their own, with disks that fail and a clock that stands still.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>

#include "agent/agent_errc.hpp"
#include "agent/hold.hpp"
#include "agent/read.hpp"
#include "agent/rescue.hpp"
#include "agent/send.hpp"
#include "agent_driver.hpp"
#include "async/rate_limiter.hpp"
#include "async/scope.hpp"
#include "base/limits.hpp"
#include "io/fault_disk.hpp"
#include "io/memory_disk.hpp"
#include "run_task.hpp"

namespace diskdump {
namespace {

TEST_SUITE_BEGIN("agent stages");

constexpr std::uint64_t sector = 512;
constexpr std::uint32_t block = limits::block_bytes_min;

struct bad_disk {
  explicit bad_disk(byte_vector content, disk_properties shape = {})
      : image(content),
        disk(loop.get_executor(), std::make_unique<memory_disk>(std::move(content), shape)) {}
  asio::io_context loop;
  byte_vector image;
  fault_disk disk;
};

// What read_or_zero gives for [offset, offset + length), in buffers of 1000 bytes.
struct rescue {
  byte_vector bytes;
  std::vector<bad_range> bad;
  rescue(bad_disk& source, std::uint64_t offset, std::size_t length, std::size_t piece = 1000)
      : bytes(length, std::byte{0x55}) {
    std::vector<byte_span> buffers;
    for (std::size_t at = 0; at < length; at += piece) {
      buffers.push_back(byte_span(bytes).subspan(at, std::min(piece, length - at)));
    }
    run_task(source.loop, read_or_zero(source.disk, offset, buffers, length, bad));
  }
};

// ---- Bad sectors --------------------------------------------------------------------------------

TEST_CASE("a readable range costs one request") {
  bad_disk source(random_bytes(100'000, 1));
  rescue const got(source, 5000, 20'000);
  CHECK(std::equal(got.bytes.begin(), got.bytes.end(), source.image.begin() + 5000));
  CHECK(got.bad.empty());
  CHECK(source.disk.reads() == 1);
}

TEST_CASE("one bad sector costs one sector and few requests") {
  bad_disk source(random_bytes(100'000, 2));
  source.disk.fail_reads(40 * sector, sector);
  rescue const got(source, 0, 64 * sector);
  CHECK(got.bad == std::vector<bad_range>{{40 * sector, sector}});
  auto expected = source.image;
  std::fill_n(expected.begin() + 40 * sector, sector, std::byte{0});
  CHECK(std::equal(got.bytes.begin(), got.bytes.end(), expected.begin()));
  CHECK(source.disk.reads() <= 1 + 2 * 7);
}

TEST_CASE("bad sectors at both ends, and next to each other, are told as ranges") {
  bad_disk source(random_bytes(100'000, 3));
  source.disk.fail_reads(0, 1);
  source.disk.fail_reads(20 * sector, 3 * sector);
  source.disk.fail_reads(63 * sector + 100, 10);
  rescue const got(source, 0, 64 * sector);
  CHECK(got.bad ==
        std::vector<bad_range>{{0, sector}, {20 * sector, 3 * sector}, {63 * sector, sector}});
}

TEST_CASE("halves meet at sectors of the disk, wherever the request begins") {
  bad_disk source(random_bytes(100'000, 4));
  source.disk.fail_reads(10 * sector, 1);
  rescue const got(source, 3 * sector + 100, 30 * sector + 7);
  CHECK(got.bad == std::vector<bad_range>{{10 * sector, sector}});
}

TEST_CASE("a disk that asks for alignment is read in its units only") {
  disk_properties shape;
  shape.alignment_bytes = 4096;
  bad_disk source(random_bytes(64 * 4096, 5), shape);
  source.disk.fail_reads(9 * 4096 + 5, 1);
  alignas(4096) static std::array<std::byte, 32 * 4096> memory;
  std::array<byte_span, 1> const buffers{memory};
  std::vector<bad_range> bad;
  run_task(source.loop, read_or_zero(source.disk, 0, buffers, memory.size(), bad));
  CHECK(bad == std::vector<bad_range>{{9 * 4096, 4096}});
}

TEST_CASE("a range that is all bad is one range") {
  bad_disk source(random_bytes(100'000, 6));
  source.disk.fail_reads(0, 100'000);
  rescue const got(source, 0, 64 * sector);
  CHECK(got.bad == std::vector<bad_range>{{0, 64 * sector}});
  CHECK(is_zero(got.bytes));
}

TEST_CASE("a short read tells where the source ends, also behind a bad sector") {
  bad_disk source(random_bytes(100'000, 7));
  source.disk.shrink(30'123);
  for (bool const also_bad : {false, true}) {
    if (also_bad) source.disk.fail_reads(1000, 1);
    try {
      rescue const got(source, 0, 64 * sector);
      FAIL("it was read");
    } catch (error const& e) {
      CHECK(e.code() == agent_errc::source_shrank);
      CHECK(e.offset() == 30'123);
      CHECK(abort_for(std::current_exception()).code == abort_code::source_shrank);
    }
  }
}

TEST_CASE("a device that is gone is not searched for readable sectors") {
  bad_disk source(random_bytes(100'000, 8));
  source.disk.fail_reads(0, 100'000, ENXIO);
  CHECK_THROWS_AS(rescue(source, 0, 64 * sector), error);
  CHECK(source.disk.reads() == 1);
}

// ---- Reading ------------------------------------------------------------------------------------

struct reading {
  block_geometry geometry;
  buffer_pool slots;
  asio_timer_source timers;
  rate_limiter limiter{timers, 0};
  image_reader reader;
  std::vector<bad_range> bad;
  byte_vector content;
  std::uint64_t holes = 0;
  std::uint64_t next = 0;

  reading(bad_disk& source, std::uint32_t batch, bool skip_bad_sectors)
      : geometry{source.image.size(), block},
        slots(source.loop.get_executor(), block, batch),
        reader(source.loop.get_executor(), source.disk, slots, limiter,
               {geometry, block_index{0}, batch, skip_bad_sectors}) {}

  task<> take(receiver<read_group> in) {
    while (auto group = co_await in.receive()) {
      CHECK(group->first.value == next);
      next += group->hole.value + group->slots.size();
      holes += group->hole.value;
      for (auto const& range : group->bad) add_bad_range(bad, range);
      auto const begin = geometry.offset_bytes(group->first);
      CHECK(content.size() == begin);
      for (auto const& slot : group->slots) append_bytes(content, slot.bytes());
      content.resize(std::min(geometry.image_bytes, geometry.offset_bytes(block_index{next})));
    }
  }
  task<> all() {
    auto groups = make_channel<read_group>(co_await asio::this_coro::executor, 1);
    co_await with_scope([&](scope& both) {
      both.spawn(reader.run(std::move(groups.first)));
      both.spawn(take(std::move(groups.second)));
    });
  }
};

TEST_CASE("groups come in image order, whatever order the disk completes them in") {
  bad_disk source(random_bytes(64 * block + 11, 9));
  reading all(source, 16, false);
  source.disk.hold();
  asio::co_spawn(source.loop, all.all(), [](std::exception_ptr e) { CHECK(e == nullptr); });
  while (all.next < all.geometry.blocks().value) {
    source.loop.restart();
    source.loop.poll();
    // The one asked for last is completed first.
    if (source.disk.held() > 0) source.disk.release(source.disk.held() - 1);
  }
  source.loop.restart();
  source.loop.run();
  CHECK(all.content == source.image);
  CHECK(all.reader.read_bytes() == source.image.size());
}

TEST_CASE("skipped sectors are zeros in the image and told with their range") {
  bad_disk source(random_bytes(64 * block, 10));
  // Across the border of two blocks.
  source.disk.fail_reads(9 * block - sector, 2 * sector);
  reading all(source, 16, true);
  run_task(source.loop, all.all());
  CHECK(all.bad == std::vector<bad_range>{{9 * block - sector, 2 * sector}});
  auto expected = source.image;
  std::fill_n(expected.begin() + 9 * block - sector, 2 * sector, std::byte{0});
  CHECK(all.content == expected);
}

TEST_CASE("a read that fails for want of memory is no bad sector, and is not skipped") {
  bad_disk source(random_bytes(64 * block, 12));
  source.disk.fail_reads(40 * block, sector, ENOMEM);
  reading all(source, 16, true);
  try {
    run_task(source.loop, all.all());
    FAIL("it was read");
  } catch (error const& e) {
    CHECK(e.code() == agent_errc::read_failed);
  }
  CHECK(all.bad.empty());
}

TEST_CASE("a bad sector that is not to be skipped ends the dump with its offset") {
  bad_disk source(random_bytes(64 * block, 11));
  source.disk.fail_reads(40 * block + 3 * sector, sector);
  reading all(source, 16, false);
  try {
    run_task(source.loop, all.all());
    FAIL("it was read");
  } catch (error const& e) {
    CHECK(e.code() == agent_errc::bad_sectors);
    CHECK(e.offset() == 40 * block + 3 * sector);
    auto const told = abort_for(std::current_exception());
    CHECK(told.code == abort_code::read_failed);
    CHECK(told.offset_bytes == 40 * block + 3 * sector);
    CHECK(told.text.find("165376+512") != std::string::npos);
  }
}

TEST_CASE("holes take no slot and no request") {
  byte_vector image(256 * block);
  auto const data = random_bytes(block, 12);
  std::copy(data.begin(), data.end(), image.begin() + 100 * block);
  bad_disk source(image);
  reading all(source, 1, false);
  run_task(source.loop, all.all());
  CHECK(all.holes == 255);
  CHECK(all.content.size() == image.size());
  // The block, and the last byte, which proves that the last hole is one.
  CHECK(source.disk.reads() == 2);
}

TEST_CASE("a source that became shorter behind its last data is found out") {
  byte_vector image(256 * block);
  bad_disk source(image);
  source.disk.shrink(100'001);
  reading all(source, 4, false);
  try {
    run_task(source.loop, all.all());
    FAIL("it was read");
  } catch (error const& e) {
    CHECK(e.code() == agent_errc::source_shrank);
    CHECK(e.offset() == 100'001);
  }
}

TEST_CASE("several requests share a small batch, and none is longer than its bound") {
  CHECK(request_blocks_max(limits::block_bytes_default, 80) == 8);
  CHECK(request_blocks_max(limits::block_bytes_min, 80) == 20);
  CHECK(request_blocks_max(limits::block_bytes_min, 4096) == limits::read_buffers_max);
  CHECK(request_blocks_max(limits::block_bytes_default, 1) == 1);
  CHECK(request_blocks_max(limits::block_bytes_max, 64) == 1);
}

TEST_CASE("send lanes are bounded by threads and by what compressing takes") {
  CHECK(send_lanes(2, limits::block_bytes_default) == 3);
  CHECK(send_lanes(64, limits::block_bytes_max) == 1);
  for (auto const block_bytes : {limits::block_bytes_min, limits::block_bytes_default,
                                 std::uint32_t{1 * limits::MiB}, std::uint32_t{4 * limits::MiB}}) {
    auto const lanes = send_lanes(limits::worker_threads_max, block_bytes);
    CHECK(lanes * (block_bytes + limits::compressor_state_bytes) <=
          limits::compress_memory_bytes_max);
    CHECK(lanes >= 1);
  }
  CHECK(send_lanes(limits::worker_threads_max, limits::block_bytes_default) == 11);
}

// ---- Hold ---------------------------------------------------------------------------------------

TEST_CASE("hold frees, queues or keeps a block as the server says") {
  asio::io_context loop;
  buffer_pool slots(loop.get_executor(), block, 4);
  hold held(loop.get_executor(), 4);
  for (std::uint64_t i = 0; i < 4; ++i) {
    held.add({block_index{i}, block, slots.try_acquire()});
  }
  CHECK(slots.free_slots() == 0);
  held.apply({block_index{0}, verdict::have});
  held.apply({block_index{1}, verdict::need});
  held.apply({block_index{2}, verdict::wait});
  held.apply({block_index{3}, verdict::need});
  CHECK(slots.free_slots() == 1);
  CHECK(held.held() == 1);
  {
    auto const taken = run_task(loop, held.take_needed(8));
    REQUIRE(taken.size() == 2);
    CHECK(taken[0].index.value == 1);
    CHECK(taken[1].index.value == 3);
  }
  CHECK(slots.free_slots() == 3);
  held.close();
  held.apply({block_index{2}, verdict::need});
  CHECK(run_task(loop, held.take_needed(8)).size() == 1);
  CHECK(run_task(loop, held.take_needed(8)).empty());
}

TEST_CASE("hold wakes every lane once nothing can be needed any more") {
  asio::io_context loop;
  buffer_pool slots(loop.get_executor(), block, 1);
  hold held(loop.get_executor(), 1);
  held.add({block_index{7}, block, slots.try_acquire()});
  int ended = 0;
  auto const lane = [](hold& from, int& count) -> task<> {
    auto const none = co_await from.take_needed(1);
    count += none.empty();
  };
  for (int i = 0; i < 3; ++i) {
    asio::co_spawn(loop, lane(held, ended), [](std::exception_ptr e) { CHECK(e == nullptr); });
  }
  loop.poll();
  held.close();
  loop.restart();
  loop.poll();
  CHECK(ended == 0);
  held.apply({block_index{7}, verdict::have});
  loop.restart();
  loop.run();
  CHECK(ended == 3);
  CHECK(slots.free_slots() == 1);
}

TEST_CASE("a cancelled lane takes nothing from hold") {
  asio::io_context loop;
  buffer_pool slots(loop.get_executor(), block, 1);
  hold held(loop.get_executor(), 1);
  held.add({block_index{7}, block, slots.try_acquire()});
  asio::cancellation_signal cancel;
  bool aborted = false;
  auto const lane = [](hold& from) -> task<> { static_cast<void>(co_await from.take_needed(1)); };
  asio::co_spawn(loop, lane(held),
                 asio::bind_cancellation_slot(
                     cancel.slot(), [&](std::exception_ptr e) { aborted = e != nullptr; }));
  loop.poll();
  cancel.emit(asio::cancellation_type::terminal);
  loop.restart();
  loop.poll();
  CHECK(aborted);
  CHECK(held.held() == 1);
  held.apply({block_index{7}, verdict::need});
  loop.restart();
  CHECK(run_task(loop, held.take_needed(1)).size() == 1);
}

TEST_SUITE_END();

}  // namespace
}  // namespace diskdump
