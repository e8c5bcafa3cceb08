// What every block store does, whatever it stores in. Each backend's test runs it with a function
// that makes an empty store.
#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "store_support.hpp"

namespace diskdump {

using store_maker = std::function<std::unique_ptr<block_store>()>;

inline std::vector<stored_block> list_of(block_store& store) {
  std::vector<stored_block> blocks;
  store.list([&](stored_block const& block) { blocks.push_back(block); });
  return blocks;
}

inline void check_store_conformance(store_maker const& make) {
  auto const store = make();

  SUBCASE("a new store holds nothing") {
    auto const block = make_block(1);
    CHECK_FALSE(holds(*store, block.id));
    CHECK_FALSE(store->get(block.id).has_value());
    CHECK(list_of(*store).empty());
    CHECK(store->stats().blocks == 0);
    CHECK(store->missing({}).empty());
    store->barrier();
  }

  SUBCASE("a block that was put is held at once, and in the index after the barrier") {
    auto const block = make_block(2);
    CHECK(store->put(block.id, block.frame));
    CHECK(holds(*store, block.id));
    CHECK(store->get(block.id) == block.frame);
    CHECK(store->stats().blocks == 0);
    CHECK(list_of(*store).empty());
    store->barrier();
    CHECK(holds(*store, block.id));
    CHECK(store->stats().blocks == 1);
    CHECK(store->stats().stored_bytes == block.frame.size());
  }

  SUBCASE("a second put changes nothing, before and after the barrier") {
    auto const block = make_block(3);
    auto const other = make_block(4);
    CHECK(store->put(block.id, block.frame));
    CHECK_FALSE(store->put(block.id, other.frame));
    CHECK(store->get(block.id) == block.frame);
    store->barrier();
    CHECK_FALSE(store->put(block.id, other.frame));
    CHECK(store->get(block.id) == block.frame);
    store->barrier();
    CHECK(store->stats().blocks == 1);
  }

  SUBCASE("missing answers each id in its place, repeats included") {
    auto const a = make_block(5);
    auto const b = make_block(6);
    auto const c = make_block(7);
    (void)store->put(a.id, a.frame);
    store->barrier();
    (void)store->put(b.id, b.frame);
    std::vector<block_id> const ids{c.id, a.id, b.id, c.id, a.id};
    CHECK(store->missing(ids) == std::vector<bool>{true, false, false, true, false});
  }

  SUBCASE("fetch gives each frame in its place: repeats, absent ones, before and after a barrier") {
    constexpr std::uint64_t blocks = 300;
    std::vector<test_block> all;
    for (std::uint64_t i = 0; i < blocks; ++i) {
      all.push_back(make_block(2000 + i));
      (void)store->put(all.back().id, all.back().frame);
      if (i == blocks / 2) store->barrier();
    }
    auto const absent = make_block(1999);
    frame_batch frames;
    for (std::uint64_t const step : {1, 7, 299}) {
      std::vector<block_id> ids;
      for (std::uint64_t i = 0; i < blocks; ++i) ids.push_back(all[i * step % blocks].id);
      ids.insert(ids.begin() + 5, 3, absent.id);
      ids.push_back(ids.front());
      store->fetch(ids, frames);
      REQUIRE(frames.size() == ids.size());
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < ids.size(); ++i) {
        auto const frame = frames[i];
        auto const there = std::find_if(all.begin(), all.end(),
                                        [&](auto const& block) { return block.id == ids[i]; });
        bool const right = there == all.end()
                               ? !frame
                               : frame && std::equal(frame->begin(), frame->end(),
                                                     there->frame.begin(), there->frame.end());
        wrong += right ? 0 : 1;
      }
      CHECK(wrong == 0);
    }
    store->fetch({}, frames);
    CHECK(frames.size() == 0);
  }

  SUBCASE("list goes in ascending order of id, and the callback may use the store") {
    for (std::uint64_t i = 0; i < 300; ++i) {
      auto const block = make_block(100 + i);
      (void)store->put(block.id, block.frame);
    }
    store->barrier();
    auto const blocks = list_of(*store);
    REQUIRE(blocks.size() == 300);
    CHECK(std::is_sorted(blocks.begin(), blocks.end(),
                         [](auto const& x, auto const& y) { return x.id < y.id; }));
    std::size_t got = 0;
    store->list([&](stored_block const& block) {
      got += store->get(block.id)->size() == block.stored_bytes ? 1 : 0;
      store->remove(std::span(&block.id, 1));
    });
    CHECK(got == 300);
    CHECK(store->stats().blocks == 0);
  }

  SUBCASE("removed blocks are gone and can be put again; unknown ones are ignored") {
    auto const a = make_block(8);
    auto const b = make_block(9);
    auto const c = make_block(10);
    (void)store->put(a.id, a.frame);
    store->barrier();
    (void)store->put(b.id, b.frame);
    std::vector<block_id> const ids{a.id, b.id, c.id};
    store->remove(ids);
    CHECK(store->missing(ids) == std::vector<bool>{true, true, true});
    CHECK_FALSE(store->get(a.id).has_value());
    store->barrier();
    CHECK(store->stats().blocks == 0);
    CHECK(store->put(a.id, a.frame));
    store->barrier();
    CHECK(store->get(a.id) == a.frame);
    CHECK(store->stats().blocks == 1);
  }

  SUBCASE("eight threads put overlapping sets: each block is stored once") {
    constexpr std::uint64_t blocks = 160;
    std::vector<test_block> all;
    for (std::uint64_t i = 0; i < blocks; ++i) all.push_back(make_block(1000 + i));
    std::atomic<std::uint64_t> stored{0};
    std::atomic<bool> unseen{false};
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < 8; ++t) {
      threads.emplace_back([&, t] {
        for (std::uint64_t i = 0; i < blocks; ++i) {
          auto const& block = all[(i * 7 + t * 20) % blocks];
          if (store->put(block.id, block.frame)) ++stored;
          if (!holds(*store, block.id)) unseen = true;
          if (i % 40 == 39) store->barrier();
        }
        store->barrier();
        for (auto const& block : all) {
          if (!holds(*store, block.id)) unseen = true;
        }
      });
    }
    for (auto& thread : threads) thread.join();
    CHECK(stored == blocks);
    CHECK_FALSE(unseen);
    CHECK(store->stats().blocks == blocks);
    for (auto const& block : all) CHECK(store->get(block.id) == block.frame);
  }
}

}  // namespace diskdump
