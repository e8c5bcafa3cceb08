// Runs one coroutine on an event loop until nothing is left to do, and gives its result.
#pragma once

#include <doctest/doctest.h>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <optional>

#include "async/task.hpp"

namespace diskdump {

namespace detail {

template <class T>
task<> keep_result(task<T> work, std::optional<T>& result) {
  result.emplace(co_await std::move(work));
}

}  // namespace detail

// A coroutine that never ends (a lost wake-up) fails the test instead of hanging it.
inline void run_task(asio::io_context& loop, task<> work) {
  bool ended = false;
  std::exception_ptr failure;
  asio::co_spawn(loop, std::move(work), [&](std::exception_ptr e) {
    ended = true;
    failure = e;
  });
  loop.restart();
  loop.run_for(std::chrono::seconds(60));
  if (!ended) {
    MESSAGE("the coroutine never ended");
    std::abort();
  }
  if (failure) std::rethrow_exception(failure);
}

template <class T>
  requires(!std::is_void_v<T>)
T run_task(asio::io_context& loop, task<T> work) {
  std::optional<T> result;
  run_task(loop, detail::keep_result(std::move(work), result));
  return std::move(*result);
}

}  // namespace diskdump
