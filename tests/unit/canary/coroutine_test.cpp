// Coroutine patterns that g++ 12 miscompiles (GCC PR106188, asio issues 858 and 1027): crashes, and
// temporaries that are destroyed twice. meson.build refuses that compiler; this program runs first,
// so that a compiler with the same faults under another name is found out before it costs a day.
//
// Only Asio takes part: where it fails, nothing of diskdump is to blame.
#include <doctest/doctest.h>

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "async/task.hpp"

namespace diskdump {

namespace {

// Counts its instances: a temporary that is destroyed twice brings it below zero.
struct counted {
  static inline int alive = 0;
  std::shared_ptr<int> owned = std::make_shared<int>(7);
  counted() { ++alive; }
  counted(counted const& other) : owned(other.owned) { ++alive; }
  counted(counted&& other) noexcept : owned(other.owned) { ++alive; }
  counted& operator=(counted const&) = default;
  counted& operator=(counted&&) = default;
  ~counted() { --alive; }
};

struct options {
  int number = 0;
  std::string text;
  counted token;
};

task<> hop() { co_await asio::post(asio::use_awaitable); }
task<bool> yes() {
  co_await hop();
  co_return true;
}
task<int> number(int n) {
  co_await hop();
  co_return n;
}
task<std::string> text() {
  co_await hop();
  co_return "a text too long for the short string optimisation";
}

// A coroutine without a local variable and a co_await in a condition crashes at -O0.
task<> in_an_if(int& out) {
  if (co_await yes()) ++out;
}
task<> in_a_switch(int& out) {
  switch (co_await number(3)) {
    case 3:
      out += 3;
      break;
    default:
      out = -1000;
  }
}
task<> in_a_while(int& out) {
  while (out < 10 && co_await yes()) ++out;
}

template <class Function>
task<int> call(Function function) {
  co_await hop();
  co_return function();
}
task<> with_a_temporary_lambda(int& out) {
  counted captured;
  out = co_await call([captured] { return *captured.owned; });
}

task<int> take(options o) {
  co_await hop();
  co_return o.number + static_cast<int>(o.text.size());
}
task<> with_a_temporary_aggregate(int& out) {
  out = co_await take({.number = 1, .text = "four", .token = {}});
  out += co_await take(options{.number = 10, .text = "", .token = {}});
}
task<> with_an_await_inside_an_aggregate(int& out) {
  options const o{.number = co_await number(5), .text = co_await text(), .token = {}};
  out = o.number + static_cast<int>(o.text.size());
}

task<> with_a_conditional_of_class_type(bool choose, std::string& out) {
  out = choose ? co_await text() : std::string("another text that is on the heap as well");
}

task<int> sum_of(std::vector<int> numbers) {
  co_await hop();
  int sum = 0;
  for (int const n : numbers) sum += n;
  co_return sum;
}
task<> with_an_initializer_list(int& out) { out = co_await sum_of({1, 2, 3}); }

task<> throws() {
  co_await hop();
  throw std::string("thrown");
}
task<> with_a_catch(std::string& out) {
  counted local;
  try {
    co_await throws();
  } catch (std::string const& caught) {
    out = caught + std::to_string(*local.owned);
  }
}

// Runs to its end; the exception of the coroutine comes out.
void run(task<> whole) {
  asio::io_context loop;
  std::exception_ptr failure;
  bool ended = false;
  asio::co_spawn(loop, std::move(whole), [&](std::exception_ptr e) {
    failure = e;
    ended = true;
  });
  loop.run();
  REQUIRE(ended);
  if (failure) std::rethrow_exception(failure);
  CHECK(counted::alive == 0);
}

}  // namespace

TEST_SUITE("canary") {
  TEST_CASE("co_await stands in the condition of an if, a switch, a while") {
    int out = 0;
    run(in_an_if(out));
    CHECK(out == 1);
    run(in_a_switch(out));
    CHECK(out == 4);
    run(in_a_while(out));
    CHECK(out == 10);
  }

  TEST_CASE("a temporary lambda with a capture lives once") {
    int out = 0;
    run(with_a_temporary_lambda(out));
    CHECK(out == 7);
  }

  TEST_CASE("temporary aggregates as arguments live once") {
    int out = 0;
    run(with_a_temporary_aggregate(out));
    CHECK(out == 15);
  }

  TEST_CASE("co_await stands inside an aggregate's braces") {
    int out = 0;
    run(with_an_await_inside_an_aggregate(out));
    CHECK(out == 5 + 49);
  }

  TEST_CASE("a conditional expression of class type lives once") {
    std::string out;
    run(with_a_conditional_of_class_type(true, out));
    CHECK(out.size() == 49);
    run(with_a_conditional_of_class_type(false, out));
    CHECK(out.size() == 40);
  }

  TEST_CASE("an initializer list is an argument") {
    int out = 0;
    run(with_an_initializer_list(out));
    CHECK(out == 6);
  }

  TEST_CASE("an exception passes through coroutines to its catch") {
    std::string out;
    run(with_a_catch(out));
    CHECK(out == "thrown7");
  }
}

}  // namespace diskdump
