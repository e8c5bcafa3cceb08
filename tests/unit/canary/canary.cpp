// Coroutine patterns that g++ 12 miscompiles (GCC PR106188, asio issues 858 and 1027): crashes, and
// temporaries that are destroyed twice. Each counts constructions and destructions of what takes
// part; a compiler that fails here would write wrong images. meson.build refuses that compiler;
// this runs first, so that one with the same faults under another name is found out before it costs
// a day. Plain checks and an exit code: no test framework between us and the compiler.
#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "async/task.hpp"

namespace {

using diskdump::task;

int alive = 0;
int made = 0;

struct counted {
  std::string text = "longer than the small string buffer of the library";
  counted() { ++alive, ++made; }
  counted(counted const& other) : text(other.text) { ++alive, ++made; }
  counted(counted&& other) noexcept : text(std::move(other.text)) { ++alive, ++made; }
  counted& operator=(counted const&) = default;
  counted& operator=(counted&&) = default;
  ~counted() { --alive; }
};

struct aggregate {
  int number = 0;
  counted value{};
};

task<> turn() { co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable); }
task<bool> yes() {
  co_await turn();
  co_return true;
}
task<int> number(int n) {
  co_await turn();
  co_return n;
}
task<counted> give() {
  co_await turn();
  co_return counted();
}
task<bool> long_enough(aggregate a) {
  co_await turn();
  co_return a.value.text.size() > 20;
}
task<int> sum_of(std::vector<int> numbers) {
  co_await turn();
  int sum = 0;
  for (int const n : numbers) sum += n;
  co_return sum;
}
template <class F>
task<bool> call(F fn) {
  co_await turn();
  co_return fn();
}

int steps = 0;

// co_await in conditions of coroutines without local variables (crash at -O0).
task<> in_if() {
  if (co_await yes()) ++steps;
}
task<> in_while() {
  while (co_await number(steps % 3) != 2) ++steps;
}
task<> in_switch() {
  switch (co_await number(2)) {
    case 2:
      ++steps;
      break;
    default:
      break;
  }
}
task<> in_for() {
  for (; co_await number(steps) < 5;) ++steps;
}
task<> in_condition() {
  if (auto const n = co_await number(3); n == 3 && co_await yes()) ++steps;
}

// Temporaries in the statement that suspends (destroyed twice).
task<> lambda_with_capture() {
  counted const held;
  if (co_await call([held] { return held.text.size() > 20; })) ++steps;
}
task<> lambda_with_owner() {
  if (co_await call([owner = std::make_shared<counted>()] { return owner.use_count() > 0; })) {
    ++steps;
  }
}
task<> aggregate_argument() {
  if (co_await long_enough({.number = 1})) ++steps;
  if (co_await long_enough(aggregate{})) ++steps;
}
task<> aggregate_of_await() {
  aggregate const a{.number = co_await number(4), .value = co_await give()};
  if (a.number == 4 && a.value.text.size() > 20) ++steps;
}
task<> conditional_result() {
  counted const held;
  counted const chosen = co_await yes() ? co_await give() : held;
  counted const other = co_await number(0) == 1 ? co_await give() : held;
  if (chosen.text.size() > 20 && other.text == held.text) ++steps;
}
task<> initializer_list() {
  if (co_await sum_of({1, 2, 3}) == 6) ++steps;
}
task<> thrown_across() {
  struct thrower {
    static task<counted> fail(counted value) {
      co_await turn();
      throw std::move(value);
    }
  };
  try {
    (void)co_await thrower::fail({});
  } catch (counted const& c) {
    if (c.text.size() > 20) ++steps;
  }
}

struct pattern {
  char const* name;
  task<> (*run)();
  int steps;
};

}  // namespace

int main() {
  constexpr std::array patterns{
      pattern{"co_await in if", in_if, 1},
      pattern{"co_await in while", in_while, 2},
      pattern{"co_await in switch", in_switch, 1},
      pattern{"co_await in for", in_for, 5},
      pattern{"co_await in if with initialiser", in_condition, 1},
      pattern{"lambda with a captured object", lambda_with_capture, 1},
      pattern{"lambda with a captured owner", lambda_with_owner, 1},
      pattern{"aggregate as argument", aggregate_argument, 2},
      pattern{"aggregate made of co_await", aggregate_of_await, 1},
      pattern{"conditional operator", conditional_result, 1},
      pattern{"initializer list as argument", initializer_list, 1},
      pattern{"exception across a suspension", thrown_across, 1},
  };
  int failed = 0;
  for (auto const& p : patterns) {
    steps = alive = made = 0;
    std::printf("%s\n", p.name);
    std::fflush(stdout);  // the line that is missing its successor names the crash
    {
      asio::io_context loop;
      asio::co_spawn(loop, p.run(), [](std::exception_ptr e) {
        if (e) std::rethrow_exception(e);
      });
      loop.run();
    }
    if (steps != p.steps || alive != 0) {
      std::printf("  MISCOMPILED: %d steps instead of %d, %d objects of %d left\n", steps, p.steps,
                  alive, made);
      ++failed;
    }
  }
  std::printf("[cases] %d passed, %d failed, 0 skipped\n",
              static_cast<int>(patterns.size()) - failed, failed);
  return failed == 0 ? 0 : 1;
}
