// Runs seeds. See README.md.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "base/format.hpp"
#include "checks.hpp"
#include "world.hpp"

namespace diskdump::simulation {

namespace {

constexpr std::uint64_t seeds_default = 2000;
// As many as this time allows, since a sanitized program is up to thirty times slower.
constexpr std::chrono::minutes long_run{5};
// Sanitized programs are slower.
constexpr std::uint64_t trimmed_by = 10;
// One of so many is run twice over.
constexpr std::uint64_t repeated_one_in = 50;
// Within so many seeds each sabotage must be noticed.
constexpr std::uint64_t canary_seeds = 100;
constexpr int exit_found = 3;

struct arguments {
  std::optional<std::uint64_t> seed;
  std::uint64_t start = 0;
  std::uint64_t seeds = seeds_default;
  std::uint64_t shard = 0;
  std::uint64_t shards = 1;
  bool canaries = false;
  bool repeat = false;
  bool verbose = false;
  bool keep_going = false;
  bool is_long = false;
};

// The seed that runs, for a crash.
std::atomic<std::uint64_t> running_seed = 0;

void on_crash(int number) {
  std::array<char, 80> text{};
  auto const n = std::snprintf(text.data(), text.size(), "\nsimulation: signal %d at seed %llu\n",
                               number, static_cast<unsigned long long>(running_seed.load()));
  (void)!::write(STDERR_FILENO, text.data(), static_cast<std::size_t>(n));
  (void)std::signal(number, SIG_DFL);
  (void)std::raise(number);
}

// A folder in memory where there is one: manifests are synced, which disks take their time for.
std::string make_folder() {
  bool const memory = ::access("/dev/shm", W_OK) == 0;
  auto pattern =
      (memory ? std::string("/dev/shm") : std::filesystem::temp_directory_path().string()) +
      "/diskdump-simulation-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) throw errno_error(errno, "mkdtemp");
  return pattern;
}

struct outcome {
  std::uint64_t hash = 0;
  std::uint64_t events = 0;
  std::uint64_t turns = 0;
  std::uint64_t targets = 0;
  std::uint64_t published = 0;
  std::uint64_t expected = 0;  // blocks that were announced as such
  std::vector<std::string> wrong;
  std::string state;  // where something is wrong, or all is to be told
};

// One world, from its beginning to its end.
outcome run_seed(std::uint64_t seed, run_options const& options) {
  running_seed = seed;
  auto plan = make_scenario(seed);
  if (options.verbose) std::cout << describe(plan);
  auto w = std::make_unique<world>(std::move(plan), options);
  outcome result;
  auto why = w->run();
  if (why.empty()) result.wrong = check_world(*w);
  if (why.empty() && result.wrong.empty() && w->has_next_day()) {
    if (options.verbose) std::cout << w->state() << "the next day\n";
    why = w->run_next_day();
    if (why.empty()) result.wrong = check_world(*w);
  }
  if (!why.empty()) result.wrong.push_back(why);
  result.hash = w->events().hash();
  result.events = w->events().events();
  result.turns = w->turns_taken();
  result.targets = w->targets().size();
  for (auto const& t : w->targets()) result.published += t.manifest.has_value();
  for (auto const& r : w->net().records()) result.expected += r.expected.size();
  if (options.verbose || !result.wrong.empty()) result.state = w->state();
  if (!why.empty()) {
    w->remove_files();
    // Coroutines still wait in it, and nothing can end them.
    static_cast<void>(w.release());
  }
  return result;
}

void report(std::uint64_t seed, outcome const& result, bool verbose) {
  if (!verbose && !result.wrong.empty()) std::cout << describe(make_scenario(seed));
  std::cout << result.state;
  for (auto const& line : result.wrong) std::cout << "seed " << seed << ": " << line << '\n';
}

// ---- What the tests of the suite call -----------------------------------------------------------

int run_seeds(arguments const& a, run_options const& options) {
  auto const began = std::chrono::steady_clock::now();
  std::uint64_t ran = 0;
  std::uint64_t failed = 0;
  outcome total;
  auto const goes_on = [&](std::uint64_t i) {
    return a.is_long ? std::chrono::steady_clock::now() - began < long_run : i < a.seeds;
  };
  for (std::uint64_t i = a.shard; goes_on(i); i += a.shards) {
    auto const seed = a.start + i;
    auto const result = run_seed(seed, options);
    ++ran;
    total.targets += result.targets;
    total.published += result.published;
    total.expected += result.expected;
    total.turns = std::max(total.turns, result.turns);
    if (result.wrong.empty()) continue;
    ++failed;
    report(seed, result, options.verbose);
    std::cout << "simulation: seed " << seed << " failed; --seed " << seed
              << " --verbose repeats it" << std::endl;
    if (!a.keep_going) break;
  }
  std::chrono::duration<double> const took = std::chrono::steady_clock::now() - began;
  std::cout << format(
      "{} seeds from {}, {} targets, {} published, {} blocks as expected, {} turns at most, "
      "{:.1f} s\n",
      ran, a.start, total.targets, total.published, total.expected, total.turns, took.count());
  std::cout << format("[cases] {} passed, {} failed, 0 skipped\n", failed == 0 ? 1 : 0, failed);
  return failed == 0 ? 0 : 1;
}

bool repeats(std::uint64_t start, std::uint64_t seeds, run_options const& options) {
  for (auto seed = start; seed < start + seeds; ++seed) {
    auto const first = run_seed(seed, options);
    auto const second = run_seed(seed, options);
    if (first.hash != second.hash || first.events != second.events) {
      std::cout << format("seed {} went two ways: {:x} of {} events, {:x} of {}\n", seed,
                          first.hash, first.events, second.hash, second.events);
      return false;
    }
  }
  return true;
}

// In a process of its own, since what is broken may leave a world that cannot be taken down.
bool is_noticed(sabotage broken, std::string_view name, arguments const& a, run_options options) {
  options.broken = broken;
  std::cout << std::flush;
  auto const child = ::fork();
  if (child == 0) {
    for (std::uint64_t i = 0; i < canary_seeds; ++i) {
      auto const result = run_seed(a.start + i, options);
      if (result.wrong.empty()) continue;
      std::cout << format("{}: noticed at seed {}: {}", name, a.start + i, result.wrong.front())
                << std::endl;
      std::_Exit(exit_found);
    }
    std::_Exit(0);
  }
  int status = 0;
  if (::waitpid(child, &status, 0) != child) return false;
  bool const found = WIFEXITED(status) && WEXITSTATUS(status) == exit_found;
  // An assertion of the product has noticed it first.
  bool const asserted = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
  if (asserted) std::cout << name << ": noticed by an assertion" << std::endl;
  if (!found && !asserted) {
    std::cout << format("{}: not noticed within {} seeds", name, canary_seeds) << std::endl;
  }
  return found || asserted;
}

int run_canaries(arguments const& a, run_options const& options) {
  constexpr std::array all{
      std::pair{sabotage::lost_put, "a store that loses a block"},
      std::pair{sabotage::wrong_put, "a store that keeps other content"},
      std::pair{sabotage::no_barrier, "a barrier that does nothing"},
      std::pair{sabotage::forgetful, "an index that forgets"},
      std::pair{sabotage::lost_settle, "a wire that drops SETTLE"},
      std::pair{sabotage::lost_wakeup, "a coroutine that is never resumed"},
  };
  int passed = 0;
  for (auto const& [broken, name] : all) passed += is_noticed(broken, name, a, options);
  int const failed = static_cast<int>(all.size()) - passed;
  std::cout << format("[cases] {} passed, {} failed, 0 skipped\n", passed, failed);
  return failed == 0 ? 0 : 1;
}

int run_repeats(arguments const& a, run_options const& options) {
  bool const same =
      repeats(a.start, std::max<std::uint64_t>(a.seeds / repeated_one_in, 1), options);
  std::cout << format("[cases] {} passed, {} failed, 0 skipped\n", same ? 1 : 0, same ? 0 : 1);
  return same ? 0 : 1;
}

int run_one(std::uint64_t seed, run_options const& options) {
  auto const result = run_seed(seed, options);
  report(seed, result, options.verbose);
  std::cout << format("seed {}: {} of {} targets published, {} events, trace {:016x}: {}\n", seed,
                      result.published, result.targets, result.events, result.hash,
                      result.wrong.empty() ? "all well" : "failed");
  return result.wrong.empty() ? 0 : 1;
}

// ---- Arguments ----------------------------------------------------------------------------------

constexpr std::string_view usage =
    "usage: simulation_test [--start S] [--seeds N] [--shard K/N] [--keep-going]  run N seeds\n"
    "       simulation_test --seed S [--verbose]     run one, and tell\n"
    "       simulation_test --long [--shard K/N]     for minutes, from a start that chance "
    "chooses\n"
    "       simulation_test --canaries | --repeat    test the test\n";

bool parse(std::vector<std::string> const& words, arguments& a) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    auto const& word = words[i];
    auto const number = [&] { return i + 1 < words.size() ? std::stoull(words[++i]) : 0; };
    if (word == "--seed") {
      a.seed = number();
    } else if (word == "--start") {
      a.start = number();
    } else if (word == "--seeds") {
      a.seeds = number();
    } else if (word == "--shard" && i + 1 < words.size()) {
      auto const& text = words[++i];
      a.shard = std::stoull(text) - 1;
      a.shards = std::stoull(text.substr(text.find('/') + 1));
    } else if (word == "--long") {
      a.is_long = true;
      a.start = std::random_device()();
    } else if (word == "--canaries") {
      a.canaries = true;
    } else if (word == "--repeat") {
      a.repeat = true;
    } else if (word == "--verbose") {
      a.verbose = true;
    } else if (word == "--keep-going") {
      a.keep_going = true;
    } else {
      return false;
    }
  }
  return a.shards > 0 && a.shard < a.shards;
}

int run(std::vector<std::string> words) {
  arguments a;
  if (std::getenv("DISKDUMP_TEST_LONG") != nullptr && words.size() == 2 && words[0] == "--shard") {
    words.emplace_back("--long");
  }
  if (!parse(words, a)) {
    std::cout << usage;
    return 2;
  }
  if (std::getenv("DISKDUMP_TEST_TRIMMED") != nullptr) a.seeds /= trimmed_by;
  for (int const number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE}) (void)std::signal(number, on_crash);
  auto const folder = make_folder();
  run_options const options{.verbose = a.verbose, .broken = sabotage::none, .folder = folder};
  if (a.start != 0) std::cout << "start seed " << a.start << std::endl;
  auto const status = a.seed       ? run_one(*a.seed, options)
                      : a.canaries ? run_canaries(a, options)
                      : a.repeat   ? run_repeats(a, options)
                                   : run_seeds(a, options);
  std::filesystem::remove_all(folder);
  std::cout << std::flush;
  // A world that could not be taken down is left as it is.
  if (status != 0) std::_Exit(status);
  return status;
}

}  // namespace

}  // namespace diskdump::simulation

int main(int argc, char** argv) {
  try {
    return diskdump::simulation::run({argv + 1, argv + argc});
  } catch (std::exception const& e) {
    std::cerr << "simulation: " << e.what() << '\n';
    return 1;
  }
}
