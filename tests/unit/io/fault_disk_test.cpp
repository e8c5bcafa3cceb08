#include "io/fault_disk.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "async/run_task.hpp"
#include "async/spawned.hpp"
#include "io/io_errc.hpp"
#include "io/memory_disk.hpp"

namespace diskdump {

namespace {

byte_vector filled(std::size_t bytes, int value) {
  return byte_vector(bytes, static_cast<std::byte>(value));
}

struct faulty_disk {
  asio::io_context loop;
  fault_disk subject{loop.get_executor(), std::make_unique<memory_disk>(filled(65536, 1))};

  byte_vector read(std::uint64_t offset_bytes, std::size_t length_bytes) {
    byte_vector bytes(length_bytes);
    byte_span const buffer(bytes);
    bytes.resize(run_task(loop, subject.read(offset_bytes, std::span(&buffer, 1))));
    return bytes;
  }
};

task<> read_then_note(disk& d, std::uint64_t offset_bytes, std::vector<int>& order, int who) {
  std::byte byte{};
  byte_span const buffer(&byte, 1);
  (void)co_await d.read(offset_bytes, std::span(&buffer, 1));
  order.push_back(who);
}

template <class F>
error failure_of(F fn) {
  try {
    fn();
  } catch (error const& e) {
    return e;
  }
  FAIL("did not fail");
  std::abort();
}

}  // namespace

TEST_SUITE("fault_disk") {
  TEST_CASE("reads that touch a bad range fail at its first byte, others do not") {
    faulty_disk f;
    f.subject.fail_reads(8192, 512);
    CHECK(f.read(0, 8192).size() == 8192);
    CHECK(f.read(8704, 512).size() == 512);
    auto const e = failure_of([&] { (void)f.read(4096, 8192); });
    CHECK(e.code() == io_errc::medium_failed);
    CHECK(e.offset() == 8192);
    CHECK(failure_of([&] { (void)f.read(8300, 10); }).offset() == 8300);
    f.subject.heal();
    CHECK(f.read(4096, 8192).size() == 8192);
  }

  TEST_CASE("a source that was cut reads short while it still says its old size") {
    faulty_disk f;
    f.subject.shrink(10'000);
    CHECK(f.read(8192, 4096).size() == 10'000 - 8192);
    CHECK(f.read(16384, 4096).empty());
    CHECK(f.subject.properties().size_bytes == 65536);
  }

  TEST_CASE("a file system fills up after so many bytes") {
    faulty_disk f;
    f.subject.fail_writes_after(5000);
    auto const page = filled(4096, 2);
    run_task(f.loop, f.subject.write(0, page));
    auto const e = failure_of([&] { run_task(f.loop, f.subject.write(4096, page)); });
    CHECK(e.code() == io_errc::no_space);
    CHECK(e.offset() == 4096);
    CHECK(f.subject.bytes_written() == 4096);
  }

  TEST_CASE("held requests complete in the order in which they are released") {
    faulty_disk f;
    std::vector<int> order;
    f.subject.hold();
    auto const a = start(f.loop, read_then_note(f.subject, 0, order, 0));
    auto const b = start(f.loop, read_then_note(f.subject, 1, order, 1));
    auto const c = start(f.loop, read_then_note(f.subject, 2, order, 2));
    CHECK(f.subject.held() == 3);
    f.subject.release(1);
    settle(f.loop);
    CHECK(order == std::vector<int>{1});
    a->cancel();
    settle(f.loop);
    CHECK(a->aborted());
    CHECK(f.subject.held() == 1);
    f.subject.release_all();
    settle(f.loop);
    CHECK(order == std::vector<int>{1, 2});
  }

  TEST_CASE("a power cut undoes what was written since the last sync") {
    faulty_disk f;
    run_task(f.loop, f.subject.write(0, filled(4096, 2)));
    run_task(f.loop, f.subject.sync());
    run_task(f.loop, f.subject.write(0, filled(8192, 3)));
    run_task(f.loop, f.subject.write(4096, filled(4096, 4)));
    (void)run_task(f.loop, f.subject.write_zeros(8192, 4096));
    run_task(f.loop, f.subject.power_cut());
    CHECK(f.read(0, 4096) == filled(4096, 2));
    CHECK(f.read(4096, 16384) == filled(16384, 1));
  }

  TEST_CASE("a sync that fails makes nothing durable") {
    faulty_disk f;
    run_task(f.loop, f.subject.write(0, filled(4096, 2)));
    f.subject.fail_syncs(EIO);
    auto const e = failure_of([&] { run_task(f.loop, f.subject.sync()); });
    CHECK(e.code() == io_errc::write_failed);
    run_task(f.loop, f.subject.power_cut());
    CHECK(f.read(0, 4096) == filled(4096, 1));
  }
}

}  // namespace diskdump
