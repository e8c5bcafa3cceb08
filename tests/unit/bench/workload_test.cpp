#include "bench/workload.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/limits.hpp"
#include "codec/compress.hpp"
#include "codec/digest.hpp"

namespace diskdump {

namespace {

workload_options options_of(double zeros, double dedup, std::uint32_t images = 1) {
  workload_options o;
  o.block_bytes = 4096;
  o.image_bytes = 10'000 * std::uint64_t{o.block_bytes};
  o.zeros_percent = zeros;
  o.dedup_percent = dedup;
  o.images = images;
  return o;
}

// Looks at the blocks themselves.
struct found {
  std::uint64_t zeros = 0, data = 0;
  std::set<content_number> contents;
};
found look_at(workload const& w) {
  found f;
  for (auto const& image : w.images()) {
    for (auto const number : image) {
      number == 0 ? ++f.zeros : ++f.data;
      if (number != 0) f.contents.insert(number);
    }
  }
  return f;
}

}  // namespace

TEST_SUITE("workload") {
  TEST_CASE("shares are what was asked for, to the block") {
    struct asked {
      double zeros, dedup;
      std::uint32_t images;
      std::uint64_t zero_blocks, distinct;
    };
    for (auto const& a :
         {asked{0, 0, 1, 0, 10'000}, asked{20, 25, 1, 2000, 6000}, asked{50, 90, 1, 5000, 500},
          asked{10, 75, 4, 4000, 9000}, asked{0, 100, 2, 0, 1}, asked{100, 50, 1, 10'000, 0},
          asked{0.01, 99.99, 1, 1, 1}}) {
      CAPTURE(a.zeros);
      CAPTURE(a.dedup);
      workload const w(options_of(a.zeros, a.dedup, a.images));
      auto const f = look_at(w);
      CHECK(w.images().size() == a.images);
      CHECK(f.zeros == a.zero_blocks);
      CHECK(f.contents.size() == a.distinct);
      auto const c = w.count();
      CHECK(c.blocks == 10'000 * a.images);
      CHECK(c.zeros == f.zeros);
      CHECK(c.data() == f.data);
      CHECK(c.distinct == f.contents.size());
    }
  }

  TEST_CASE("images share blocks with each other") {
    workload const w(options_of(0, 50, 2));
    std::set<content_number> const first(w.images()[0].begin(), w.images()[0].end());
    auto const shared = std::count_if(w.images()[1].begin(), w.images()[1].end(),
                                      [&](auto number) { return first.contains(number); });
    CHECK(shared > 2000);
    CHECK(shared < 5000);
  }

  TEST_CASE("the same options give the same blocks, another seed gives others") {
    auto options = options_of(20, 25);
    workload const one(options), two(options);
    CHECK(one.images() == two.images());
    content_maker const maker(options), again(options);
    byte_vector a(options.block_bytes), b(options.block_bytes);
    maker.fill(7, a);
    again.fill(7, b);
    CHECK(a == b);
    options.seed = 2;
    CHECK(workload(options).images() != one.images());
    content_maker const other(options);
    other.fill(7, b);
    CHECK(a != b);
  }

  TEST_CASE("a change gives so many blocks a content that nothing had") {
    workload w(options_of(20, 25));
    auto const before = w;
    auto const had = look_at(before);
    auto const change = w.change_percent(5);
    CHECK(change.blocks.size() == 400);
    std::uint64_t differ = 0;
    for (std::size_t i = 0; i < w.images()[0].size(); ++i) {
      if (w.images()[0][i] != before.images()[0][i]) ++differ;
    }
    CHECK(differ == 400);
    for (auto const& p : change.blocks) {
      CHECK(before.images()[p.image][p.block.value] != 0);
      CHECK_FALSE(had.contents.contains(w.images()[p.image][p.block.value]));
    }
    auto const has = look_at(w);
    auto const gone = std::count_if(had.contents.begin(), had.contents.end(),
                                    [&](auto number) { return !has.contents.contains(number); });
    CHECK(change.abandoned == static_cast<std::uint64_t>(gone));
    CHECK(change.abandoned > 0);
    CHECK(change.abandoned < 400);
    CHECK(has.zeros == had.zeros);
  }

  TEST_CASE("an image of zeros has nothing to change") {
    workload w(options_of(100, 0));
    auto const change = w.change_percent(5);
    CHECK(change.blocks.empty());
    CHECK(change.abandoned == 0);
  }

  TEST_CASE("contents are different, and none is zeros") {
    auto options = options_of(0, 0);
    for (double const percent : {0.0, 50.0, 99.0}) {
      options.compressibility_percent = percent;
      content_maker const maker(options);
      std::set<block_id> ids;
      byte_vector raw(options.block_bytes);
      for (content_number i = 1; i <= 2000; ++i) {
        maker.fill(i, raw);
        CHECK_FALSE(is_zero(raw));
        ids.insert(sha256(raw));
      }
      CHECK(ids.size() == 2000);
    }
  }

  TEST_CASE("lz4 saves what was asked for, of other blocks than those that were tried") {
    constexpr std::uint32_t small = 4096, usual = limits::block_bytes_default;
    for (auto const block_bytes : {small, usual}) {
      for (double const percent : {0.0, 10.0, 33.0, 50.0, 75.0, 90.0, 95.0}) {
        CAPTURE(block_bytes);
        CAPTURE(percent);
        auto options = options_of(0, 0);
        options.block_bytes = block_bytes;
        options.compressibility_percent = percent;
        content_maker const maker(options);
        block_compressor compressor;
        byte_vector raw(block_bytes), packed(lz4_frame_bytes_max(block_bytes));
        std::uint64_t stored = 0, bytes = 0;
        for (content_number i = 0; bytes < 4 * limits::bench_probe_bytes; ++i) {
          maker.fill(1'000'000 + i, raw);
          stored += compressor.lz4_frame(raw, packed);
          bytes += block_bytes;
        }
        auto const saved = 100 * (1 - static_cast<double>(stored) / static_cast<double>(bytes));
        CHECK(std::abs(saved - percent) < 1);
        CHECK(std::abs(maker.saved_percent() - percent) < 1);
      }
    }
  }
}

}  // namespace diskdump
