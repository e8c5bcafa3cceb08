// One seed's world: a whole fleet, dumped by the real dump_fleet() on one thread. Made, run, looked
// at, and gone.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "async/offload.hpp"
#include "network.hpp"
#include "pipeline/fleet.hpp"
#include "scenario.hpp"
#include "store.hpp"
#include "turns.hpp"

namespace diskdump::simulation {

struct run_options {
  bool verbose = false;
  sabotage broken = sabotage::none;
  std::string folder;  // where worlds may put their files
};

// What a target's observer was told.
struct told {
  unsigned starts = 0;
  unsigned ends = 0;
  unsigned retries = 0;
};

class world final : fleet_observer {
 public:
  world(scenario plan, run_options const& options);
  ~world() override;

  // Runs until nothing is left to do. An empty text, or why that never came: then the world must
  // not be destroyed, since coroutines still wait in it.
  [[nodiscard]] std::string run();
  // Whether something is left to be dumped the next day; then run_next_day() does it, with --resume
  // and without any fault, and targets() are those.
  [[nodiscard]] bool has_next_day() const noexcept;
  [[nodiscard]] std::string run_next_day();
  [[nodiscard]] bool is_next_day() const noexcept { return next_day_; }

  [[nodiscard]] scenario const& plan() const noexcept { return plan_; }
  [[nodiscard]] std::vector<fleet_target> const& targets() const noexcept { return targets_; }
  // Published on the day before, by an earlier run or the first part of this one.
  [[nodiscard]] std::vector<std::string> const& earlier_manifests() const noexcept {
    return earlier_manifests_;
  }
  // What the day before left of this target of the plan, to go on with.
  [[nodiscard]] std::uint64_t resumable_bytes(std::size_t number) const;
  // Which target of the plan each of them is.
  [[nodiscard]] std::vector<std::size_t> const& numbers() const noexcept { return numbers_; }
  [[nodiscard]] std::vector<told> const& observed() const noexcept { return told_; }
  [[nodiscard]] network const& net() const noexcept { return network_; }
  [[nodiscard]] simulated_store& store() noexcept { return store_; }
  [[nodiscard]] claims_table const& claims() const noexcept { return claims_; }
  [[nodiscard]] std::string const& base() const noexcept { return base_; }
  [[nodiscard]] bool cancelled() const noexcept { return cancelled_; }
  [[nodiscard]] trace const& events() const noexcept { return trace_; }
  [[nodiscard]] std::uint64_t turns_taken() const noexcept { return turns_.taken(); }
  [[nodiscard]] std::chrono::seconds time_passed() const;
  [[nodiscard]] std::string state() const;
  // Removes its files, where the world itself must stay.
  void remove_files();

 private:
  void on_start(fleet_target const& target) override;
  void on_retry(fleet_target const& target, fleet_retry const& retry) override;
  void on_end(fleet_target const& target) override;
  [[nodiscard]] told& about(fleet_target const& target);
  void make_targets(std::vector<std::size_t> numbers);
  void make_previous(target_plan_of_seed const& target, previous_dump const& previous);
  task<> dump_all();
  task<> await_programs();
  task<> pause_store();
  [[nodiscard]] std::string run_until(bool& done);

  scenario plan_;
  run_options options_;
  std::string base_;
  trace trace_;
  random_sequence random_;
  random_sequence chance_;  // of the pauses between attempts
  turns turns_;
  manual_timer_source timers_;
  worker_pool workers_;
  worker_pool writers_;
  simulated_store store_;
  claims_table claims_;
  callback_log log_;
  dump_context context_;
  network network_;
  std::vector<fleet_target> targets_;
  std::vector<std::size_t> numbers_;
  std::vector<told> told_;
  std::vector<std::string> earlier_manifests_;
  std::map<std::size_t, std::uint64_t> resumable_bytes_;
  asio::cancellation_signal cancel_;
  bool cancelled_ = false;
  clock_source::steady cancelled_since_{};
  bool dumped_ = false;
  bool quiet_ = false;
  bool next_day_ = false;
  std::exception_ptr failure_;
  std::uint64_t deeds_ = 0;  // at last_deed_
  clock_source::steady last_deed_{};
};

}  // namespace diskdump::simulation
