// The machines of a simulated fleet and how they are reached: what stands in for SSH, the shell
// there, and the programs that it starts.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent.hpp"
#include "async/scope.hpp"
#include "pipeline/fleet.hpp"
#include "scenario.hpp"
#include "wire.hpp"

namespace diskdump::simulation {

class network {
 public:
  // The scenario and the events outlive it.
  network(asio::any_io_executor executor, timer_source& timers, scenario const& plan,
          random_sequence random, trace& events);
  ~network();

  // The agent that the server carries.
  [[nodiscard]] agent_images agents() const;
  [[nodiscard]] host_connector connector();

  // Completes when every program on every machine has ended.
  [[nodiscard]] task<> programs_ended();

  // From now on nothing is wrong with any machine, and the records begin again.
  void heal();

  // Sabotage: no SETTLE reaches an agent.
  void lose_settles() noexcept { settles_lost_ = true; }

  // ---- What was seen, for the checks -----------------------------------------------------------
  // In order of their START; several for a target that was tried again.
  [[nodiscard]] std::deque<agent_record> const& records() const noexcept { return records_; }
  [[nodiscard]] std::size_t open_streams() const noexcept { return open_streams_; }
  [[nodiscard]] std::size_t open_hosts() const noexcept { return open_hosts_; }
  // All that the streams carried, both ways.
  [[nodiscard]] std::uint64_t carried_bytes() const noexcept { return carried_bytes_; }
  // When a connection or a program was asked for, the last time.
  [[nodiscard]] clock_source::steady last_beginning() const noexcept { return last_beginning_; }
  [[nodiscard]] std::size_t programs_running() const noexcept { return programs_.running(); }
  [[nodiscard]] std::string state() const;

 private:
  friend class simulated_host;
  friend class simulated_stream;
  struct machine {
    host_plan const* plan = nullptr;
    std::size_t number = 0;
    bool has_agent = false;
    bool has_upload = false;
    std::size_t connects = 0;
    std::size_t starts = 0;
  };
  task<std::unique_ptr<remote_host>> connect(std::string name);
  task<> program(machine& where, std::shared_ptr<connection> link, std::string command,
                 start_fault fault);
  task<> shell(machine& where, std::shared_ptr<connection> link, std::string command,
               start_fault fault);
  task<> agent(machine& where, std::shared_ptr<connection> link, std::string nonce_hex,
               bool other_agent);
  [[nodiscard]] assignment assign(machine const& where, std::string const& path);

  asio::any_io_executor executor_;
  timer_source& timers_;
  scenario const& plan_;
  random_sequence random_;
  trace& events_;
  agent_binary binary_;
  std::map<std::string, machine> machines_;
  std::vector<std::size_t> attempts_;  // of each target
  std::deque<agent_record> records_;
  std::vector<std::weak_ptr<connection>> connections_;
  bool settles_lost_ = false;
  bool healed_ = false;
  std::size_t open_streams_ = 0;
  std::size_t open_hosts_ = 0;
  std::uint64_t carried_bytes_ = 0;
  clock_source::steady last_beginning_{};
  scope programs_;
};

}  // namespace diskdump::simulation
