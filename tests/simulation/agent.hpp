// The agent of a simulated machine: the real wire/agent_session over a connection, a disk in
// memory, and whatever the attempt's plan says that it does wrong.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <set>

#include "async/wait_list.hpp"
#include "scenario.hpp"
#include "wire.hpp"
#include "wire/agent_session.hpp"

namespace diskdump::simulation {

// What an agent did, for the checks.
struct agent_record {
  std::size_t target = 0;
  std::size_t attempt = 0;  // of the target, from 0
  bool second_source = false;
  bool misdeed_done = false;
  bool said_end = false;
  bool heard_done = false;
  block_index first_block;
  std::uint64_t announced_blocks = 0;
  std::vector<block_id> sent;  // ids of whole BLOCK frames that were taken by the wire
  std::uint64_t sent_raw_bytes = 0;
  std::set<std::uint64_t> held;  // blocks that the server said it has
  // Announced as expected: held once the server has answered to something behind them.
  std::set<std::uint64_t> expected;
};

// The start of one attempt: whose path it is, and what goes wrong this time.
struct assignment {
  image const* source = nullptr;
  std::string identity;
  attempt_plan plan;
  agent_record* record = nullptr;  // outlives the agent
};
using assign_path = std::function<assignment(std::string const& path)>;

class simulated_agent {
 public:
  simulated_agent(asio::any_io_executor const& executor, timer_source& timers,
                  std::shared_ptr<connection> link, session_nonce nonce, block_id self_digest,
                  assign_path assign, random_sequence random);

  // Completes when the program has ended, with its exit report. Throws only when it is cancelled.
  [[nodiscard]] task<exit_report> run();

 private:
  task<> listen();
  task<> work();
  task<> take_start();
  task<> flush();
  task<> announce();
  task<> send_next();
  task<> send_block(block_index index);
  task<> misbehave();
  task<> say_nothing_more();
  task<> raw(byte_vector frames);
  void hear(agent_session::event&& event);
  [[nodiscard]] bool can_announce() const noexcept;
  [[nodiscard]] bool due(misdeed what) const noexcept;
  [[nodiscard]] bool is_due() const noexcept;
  [[noreturn]] void end_program(int status);

  asio::any_io_executor executor_;
  timer_source& timers_;
  std::shared_ptr<connection> link_;
  session_nonce nonce_;
  block_id self_digest_;
  assign_path assign_;
  random_sequence random_;

  agent_session session_;
  wait_list changed_;
  std::optional<start_message> start_;
  assignment mine_;
  block_index next_;
  std::deque<block_index> needed_;
  bool ended_ = false;
  bool done_ = false;
  bool stopped_ = false;
  std::optional<exit_report> end_report_;
};

}  // namespace diskdump::simulation
