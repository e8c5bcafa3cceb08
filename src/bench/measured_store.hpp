// A store that measures another one: each call is passed on, and how long it took is recorded. A
// call that throws is not. Any thread, as the store within; 50 ns a call.
#pragma once

#include <array>
#include <chrono>
#include <type_traits>

#include "bench/histogram.hpp"
#include "store/block_store.hpp"

namespace diskdump {

enum class store_call : std::uint8_t { put, get, missing, barrier };
inline constexpr std::size_t store_call_count = 4;
[[nodiscard]] std::string_view name_of(store_call which) noexcept;

struct store_latencies {
  std::array<latency_histogram, store_call_count> calls;

  [[nodiscard]] latency_histogram& of(store_call which) noexcept {
    return calls[static_cast<std::size_t>(which)];
  }
};

class measured_store final : public block_store {
 public:
  // Both outlive it.
  measured_store(block_store& inner, store_latencies& latencies)
      : inner_(inner), latencies_(latencies) {}

  [[nodiscard]] std::vector<bool> missing(std::span<block_id const> ids) override {
    return timed(store_call::missing, [&] { return inner_.missing(ids); });
  }
  bool put(block_id const& id, byte_view frame) override {
    return timed(store_call::put, [&] { return inner_.put(id, frame); });
  }
  bool put_list(block_id const& id, byte_view frame) override {
    return timed(store_call::put, [&] { return inner_.put_list(id, frame); });
  }
  void fetch(std::span<block_id const> ids, frame_batch& frames) override {
    timed(store_call::get, [&] {
      inner_.fetch(ids, frames);
      return true;
    });
  }
  void barrier() override {
    timed(store_call::barrier, [&] {
      inner_.barrier();
      return true;
    });
  }
  void list(std::function<void(stored_block const&)> const& each) override { inner_.list(each); }
  void remove(std::span<block_id const> ids) override { inner_.remove(ids); }
  bool give_room() noexcept override { return inner_.give_room(); }
  [[nodiscard]] store_stats stats() override { return inner_.stats(); }
  [[nodiscard]] store_properties const& properties() const noexcept override {
    return inner_.properties();
  }

 private:
  template <class Call>
  std::invoke_result_t<Call&> timed(store_call which, Call call) {
    auto const began = std::chrono::steady_clock::now();
    auto result = call();
    latencies_.of(which).add(std::chrono::steady_clock::now() - began);
    return result;
  }

  block_store& inner_;
  store_latencies& latencies_;
};

}  // namespace diskdump
