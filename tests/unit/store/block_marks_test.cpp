#include "store/block_marks.hpp"

#include <doctest/doctest.h>

#include <set>
#include <thread>

#include "codec/digest.hpp"

namespace diskdump {

namespace {

block_id id_of(std::uint64_t number) {
  std::array<std::byte, 8> bytes{};
  store_le(bytes.data(), number);
  return sha256(bytes);
}

}  // namespace

TEST_SUITE("block_marks") {
  TEST_CASE("bits add up, and an id that was never added has none") {
    block_marks marks;
    CHECK(marks.of(id_of(1)) == 0);
    CHECK(marks.add(id_of(1), 1) == 0);
    CHECK(marks.add(id_of(1), 4) == 1);
    CHECK(marks.of(id_of(1)) == 5);
    CHECK_FALSE(marks.contains(id_of(2)));
    CHECK(marks.size() == 1);
  }

  TEST_CASE("many blocks from many threads are all there once") {
    block_marks marks;
    constexpr std::uint64_t count = 20'000;
    {
      std::vector<std::jthread> threads;
      for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
          for (std::uint64_t i = 0; i < count; ++i) (void)marks.add(id_of(i));
        });
      }
    }
    CHECK(marks.size() == count);
    for (std::uint64_t i = 0; i < count; ++i) REQUIRE(marks.contains(id_of(i)));
    CHECK_FALSE(marks.contains(id_of(count)));
    std::vector<block_id> ids;
    for (std::uint64_t i = 0; i < 100; ++i) ids.push_back(id_of(count - 50 + i));
    std::vector<std::uint8_t> bits(ids.size(), 7);
    marks.of(ids, bits);
    for (std::size_t i = 0; i < ids.size(); ++i) CHECK(bits[i] == (i < 50 ? 1 : 0));
    std::set<block_id> seen;
    marks.for_each([&](block_id const& id, std::uint8_t bits) {
      CHECK(bits == 1);
      seen.insert(id);
    });
    CHECK(seen.size() == count);
  }

  TEST_CASE("what is cleared is gone, and can be added again") {
    block_marks marks;
    for (std::uint64_t i = 0; i < 1000; ++i) (void)marks.add(id_of(i));
    marks.clear();
    CHECK(marks.size() == 0);
    CHECK(marks.of(id_of(1)) == 0);
    CHECK(marks.add(id_of(1), 2) == 0);
    marks.trim();
    CHECK(marks.of(id_of(1)) == 2);
    CHECK(marks.size() == 1);
  }

  TEST_CASE("ids that all want one slot find a place") {
    block_marks marks;
    block_id id;
    for (int i = 0; i < 200; ++i) {
      id.bytes[31] = static_cast<std::byte>(i);
      (void)marks.add(id);
    }
    CHECK(marks.size() == 200);
    CHECK(marks.contains(id));
  }
}

}  // namespace diskdump
