#include "disk_conformance.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <random>

#include "async/run_task.hpp"
#include "async/scope.hpp"
#include "base/error.hpp"
#include "io/io_errc.hpp"

namespace diskdump {

namespace {

// Memory that O_DIRECT takes.
class aligned_bytes {
 public:
  explicit aligned_bytes(std::size_t bytes)
      : size_(bytes),
        memory_(static_cast<std::byte*>(
            std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096 + 4096))) {
    REQUIRE(memory_);
    std::fill_n(memory_.get(), bytes, std::byte{0xee});
  }
  [[nodiscard]] byte_span span() const noexcept { return {memory_.get(), size_}; }

 private:
  struct releaser {
    void operator()(std::byte* p) const noexcept { std::free(p); }
  };
  std::size_t size_;
  std::unique_ptr<std::byte, releaser> memory_;
};

byte_vector random_bytes(std::size_t bytes, unsigned seed) {
  std::mt19937 random(seed);
  byte_vector out(bytes);
  for (auto& b : out) b = static_cast<std::byte>(random());
  return out;
}

task<std::size_t> read_one(disk& source, std::uint64_t offset_bytes, byte_span buffer) {
  co_return co_await source.read(offset_bytes, std::span(&buffer, 1));
}

struct disk_fixture {
  asio::io_context loop;
  worker_pool pool{2};
  byte_vector content;
  std::unique_ptr<disk> subject;

  disk_fixture(disk_maker const& maker, byte_vector bytes) : content(std::move(bytes)) {
    subject = maker.make(loop, pool, content);
    REQUIRE(subject->properties().size_bytes == content.size());
  }
  // Reads are cut to what the alignment allows.
  [[nodiscard]] std::size_t unit() const { return subject->properties().alignment_bytes; }
  std::size_t read(std::uint64_t offset_bytes, byte_span buffer) {
    return run_task(loop, read_one(*subject, offset_bytes, buffer));
  }
  void check_equal(std::uint64_t offset_bytes, byte_span got) {
    REQUIRE(std::equal(got.begin(), got.end(),
                       content.begin() + static_cast<std::ptrdiff_t>(offset_bytes)));
  }
  void check_whole() {
    aligned_bytes const all(content.size());
    auto const whole = aligned_bytes((content.size() + unit() - 1) / unit() * unit());
    REQUIRE(read(0, whole.span()) == content.size());
    check_equal(0, whole.span().first(content.size()));
  }
};

constexpr std::size_t image_bytes = 1024 * 1024;

void reads_at_any_place(disk_maker const& maker) {
  disk_fixture f(maker, random_bytes(image_bytes, 1));
  std::mt19937 random(2);
  for (int i = 0; i < 100; ++i) {
    auto const offset = random() % image_bytes / f.unit() * f.unit();
    auto const length = std::max(f.unit(), random() % (image_bytes - offset) / f.unit() * f.unit());
    aligned_bytes const buffer(length);
    REQUIRE(f.read(offset, buffer.span()) == length);
    f.check_equal(offset, buffer.span());
  }
}

void reads_into_many_buffers(disk_maker const& maker) {
  disk_fixture f(maker, random_bytes(image_bytes, 3));
  for (std::size_t const parts : {std::size_t{1}, std::size_t{3}, std::size_t{64}}) {
    auto const part = std::max<std::size_t>(f.unit(), 1000 / f.unit() * f.unit());
    aligned_bytes const buffer(parts * part);
    std::vector<byte_span> spans;
    for (std::size_t i = 0; i < parts; ++i) spans.push_back(buffer.span().subspan(i * part, part));
    auto const offset = 8192U;
    CHECK(run_task(f.loop, f.subject->read(offset, spans)) == parts * part);
    f.check_equal(offset, buffer.span());
  }
  CHECK(run_task(f.loop, f.subject->read(0, {})) == 0);
}

void reads_less_only_at_the_end(disk_maker const& maker) {
  disk_fixture f(maker, random_bytes(maker.whole_sectors ? image_bytes : image_bytes - 100, 4));
  auto const size = f.content.size();
  aligned_bytes const buffer(16384);
  auto const offset = (size - 5000) / f.unit() * f.unit();
  CHECK(f.read(offset, buffer.span()) == size - offset);
  f.check_equal(offset, buffer.span().first(size - offset));
  CHECK(f.read(size / f.unit() * f.unit() + 8192, buffer.span()) == 0);
}

task<> read_and_compare(disk_fixture& f, std::uint64_t offset_bytes, std::size_t length_bytes,
                        int& done) {
  aligned_bytes const buffer(length_bytes);
  auto const n = co_await read_one(*f.subject, offset_bytes, buffer.span());
  REQUIRE(n == length_bytes);
  f.check_equal(offset_bytes, buffer.span());
  ++done;
}

task<> read_many(disk_fixture& f, int count, std::size_t length_bytes, int& done, bool cancel) {
  co_await with_scope([&](scope& s) {
    for (int i = 0; i < count; ++i) {
      auto const offset = static_cast<std::uint64_t>(i) * 4096;
      s.spawn(read_and_compare(f, offset, length_bytes, done));
    }
    if (cancel) s.cancel();
  });
}

void reads_many_at_once(disk_maker const& maker) {
  disk_fixture f(maker, random_bytes(image_bytes, 5));
  int done = 0;
  run_task(f.loop, read_many(f, 100, 65536, done, false));
  CHECK(done == 100);
}

void is_usable_after_a_cancelled_read(disk_maker const& maker) {
  disk_fixture f(maker, random_bytes(image_bytes, 6));
  for (int round = 0; round < 20; ++round) {
    int done = 0;
    try {
      run_task(f.loop, read_many(f, 100, 65536, done, true));
      FAIL("the cancellation was lost");
    } catch (std::system_error const& e) {
      CHECK(e.code() == asio::error::operation_aborted);
    }
    CHECK(done < 100);
  }
  f.check_whole();
}

void tells_where_data_is(disk_maker const& maker) {
  byte_vector bytes(image_bytes);
  std::fill_n(bytes.begin() + 262144, 4096, std::byte{1});
  std::fill_n(bytes.begin() + 524288, 65536, std::byte{2});
  disk_fixture f(maker, bytes);
  byte_vector seen(image_bytes);
  std::uint64_t at = 0;
  while (at < image_bytes) {
    auto const range = f.subject->next_data(at);
    if (range.length_bytes == 0) break;
    REQUIRE(range.offset_bytes >= at);
    REQUIRE(range.offset_bytes + range.length_bytes <= image_bytes);
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(range.offset_bytes), range.length_bytes,
                seen.begin() + static_cast<std::ptrdiff_t>(range.offset_bytes));
    at = range.offset_bytes + range.length_bytes;
  }
  CHECK(seen == bytes);
  CHECK(f.subject->next_data(image_bytes).length_bytes == 0);
  CHECK(f.subject->next_data(image_bytes + 4096).length_bytes == 0);
}

task<> write_somewhere(disk_fixture& f, std::uint64_t offset_bytes, byte_span bytes, bool zeros) {
  if (zeros) {
    std::fill(bytes.begin(), bytes.end(), std::byte{0});
    if (co_await f.subject->write_zeros(offset_bytes, bytes.size())) co_return;
  }
  co_await f.subject->write(offset_bytes, bytes);
}

void keeps_what_is_written(disk_maker const& maker) {
  disk_fixture f(maker, random_bytes(image_bytes, 7));
  std::mt19937 random(8);
  for (int i = 0; i < 100; ++i) {
    auto const offset = random() % image_bytes / f.unit() * f.unit();
    auto const rest = std::min<std::size_t>(image_bytes - offset, 100000);
    auto const length = std::max(f.unit(), random() % rest / f.unit() * f.unit());
    aligned_bytes const buffer(length);
    for (auto& b : buffer.span()) b = static_cast<std::byte>(random());
    run_task(f.loop, write_somewhere(f, offset, buffer.span(), i % 3 == 0));
    std::copy(buffer.span().begin(), buffer.span().end(),
              f.content.begin() + static_cast<std::ptrdiff_t>(offset));
  }
  run_task(f.loop, f.subject->sync());
  f.check_whole();
}

void refuses_writes_beyond_the_end(disk_maker const& maker) {
  disk_fixture f(maker, random_bytes(image_bytes, 9));
  aligned_bytes const buffer(8192);
  try {
    run_task(f.loop, f.subject->write(image_bytes - 4096, buffer.span()));
    FAIL("wrote beyond the end");
  } catch (error const& e) {
    CHECK(e.code() == io_errc::out_of_range);
    CHECK(e.offset() == image_bytes - 4096);
    CHECK_FALSE(e.path().empty());
  }
  CHECK_THROWS_AS(run_task(f.loop, f.subject->write_zeros(image_bytes, 4096)), error);
  f.check_whole();
}

task<> cancelled_before(disk_fixture& f, bool& started) {
  aligned_bytes const buffer(4096);
  co_await asio::post(f.loop, asio::use_awaitable);
  started = true;
  co_await read_one(*f.subject, 0, buffer.span());
  FAIL("read after a cancellation");
}

void does_not_start_when_cancelled(disk_maker const& maker) {
  disk_fixture f(maker, random_bytes(image_bytes, 10));
  asio::cancellation_signal signal;
  bool started = false;
  std::exception_ptr failure;
  asio::co_spawn(
      f.loop, cancelled_before(f, started),
      asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr e) { failure = e; }));
  f.loop.poll_one();
  signal.emit(asio::cancellation_type::terminal);
  f.loop.restart();
  f.loop.run();
  CHECK(failure);
}

}  // namespace

void disk_conformance(disk_maker const& maker) {
  SUBCASE("reads at any place") { reads_at_any_place(maker); }
  SUBCASE("reads into many buffers") { reads_into_many_buffers(maker); }
  SUBCASE("reads less only at the end") { reads_less_only_at_the_end(maker); }
  SUBCASE("reads many at once") { reads_many_at_once(maker); }
  SUBCASE("is usable after a cancelled read") { is_usable_after_a_cancelled_read(maker); }
  SUBCASE("does not start when cancelled") { does_not_start_when_cancelled(maker); }
  SUBCASE("tells where data is") { tells_where_data_is(maker); }
  SUBCASE("keeps what is written") { keeps_what_is_written(maker); }
  SUBCASE("refuses writes beyond the end") { refuses_writes_beyond_the_end(maker); }
}

}  // namespace diskdump
