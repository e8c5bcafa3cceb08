#include "bench/measured_store.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <stdexcept>

#include "codec/digest.hpp"

namespace diskdump {

namespace {

class failing_store final : public block_store {
 public:
  std::vector<bool> missing(std::span<block_id const>) override { throw std::runtime_error("no"); }
  bool put(block_id const&, byte_view) override { throw std::runtime_error("no"); }
  void fetch(std::span<block_id const>, frame_batch&) override { throw std::runtime_error("no"); }
  void barrier() override { throw std::runtime_error("no"); }
  void list(std::function<void(stored_block const&)> const&) override {}
  void remove(std::span<block_id const>) override {}
  store_stats stats() override { return {}; }
  store_properties const& properties() const noexcept override { return properties_; }

 private:
  store_properties properties_;
};

}  // namespace

TEST_SUITE("measured_store") {
  TEST_CASE("calls are passed on with their results, and counted each by its kind") {
    auto const inner = make_memory_store(4096);
    store_latencies latencies;
    measured_store store(*inner, latencies);
    auto const frame = as_bytes("frame");
    auto const id = sha256(frame), other = sha256(as_bytes("other"));
    CHECK(store.put(id, frame));
    CHECK_FALSE(store.put(id, frame));
    store.barrier();
    std::vector<block_id> const ids{id, other};
    CHECK(store.missing(ids) == std::vector<bool>{false, true});
    CHECK(store.get(id)->size() == frame.size());
    CHECK_FALSE(store.get(other));
    CHECK_FALSE(store.get(other));
    CHECK(latencies.of(store_call::put).count() == 2);
    CHECK(latencies.of(store_call::barrier).count() == 1);
    CHECK(latencies.of(store_call::missing).count() == 1);
    CHECK(latencies.of(store_call::get).count() == 3);
    CHECK(store.stats().blocks == 1);
    CHECK(store.properties().format == "memory");
    std::size_t listed = 0;
    store.list([&](stored_block const&) { ++listed; });
    CHECK(listed == 1);
    store.remove(std::span(&id, 1));
    CHECK(inner->stats().blocks == 0);
  }

  TEST_CASE("a call that throws is not a latency") {
    failing_store inner;
    store_latencies latencies;
    measured_store store(inner, latencies);
    CHECK_THROWS(store.put({}, as_bytes("x")));
    CHECK_THROWS(store.barrier());
    CHECK_THROWS(static_cast<void>(store.get({})));
    CHECK_THROWS(static_cast<void>(store.missing({})));
    for (auto const& h : latencies.calls) CHECK(h.count() == 0);
  }
}

}  // namespace diskdump
