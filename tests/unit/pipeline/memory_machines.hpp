// Machines in memory for a whole fleet: their connections, their shells and their agents, each of
// which a test may hold back. Everything runs on one thread that the test turns by hand.
#pragma once

#include <deque>
#include <set>

#include "async/spawned.hpp"
#include "image_fleet.hpp"
#include "pipeline/fleet.hpp"

namespace diskdump {

struct silent_observer final : fleet_observer {
  std::size_t started = 0, retried = 0, ended = 0;
  void on_start(fleet_target const&) override { ++started; }
  void on_retry(fleet_target const&, fleet_retry const&) override { ++retried; }
  void on_end(fleet_target const&) override { ++ended; }
};

inline std::vector<fleet_target> paths_of(std::string const& host, std::size_t count) {
  std::vector<fleet_target> targets(count);
  for (std::size_t i = 0; i < count; ++i) {
    targets[i].host = host;
    targets[i].path = "/dev/sd" + std::string(1, static_cast<char>('a' + i));
    targets[i].label = host + ":" + targets[i].path;
    targets[i].manifest_name = host + "-" + std::to_string(i);
  }
  return targets;
}

inline fleet_options options_with(unsigned attempts_max) {
  fleet_options options;
  options.targets_active_max = 32;
  options.block_bytes = block_bytes;
  options.batch_blocks = 8;              // what is under way is little beside what has arrived
  options.agent = agent_choice::python;  // which is uploaded nowhere
  options.retries = {.attempts_max = attempts_max,
                     .delay_first = std::chrono::milliseconds(0),
                     .delay_max = std::chrono::milliseconds(0)};
  return options;
}

// Each disk is `image`. Outlives the fleet that is dumped from it.
class memory_machines {
 public:
  explicit memory_machines(asio::any_io_executor executor)
      : executor_(executor), released_(executor), programs_(executor) {}

  byte_vector image = random_image(60 * block_bytes, 2);
  std::deque<lie> lies;  // of the agents in the order of their start; then none
  std::size_t dies_after = 40;
  timer_source* timers = nullptr;  // needed by one that drips
  // From so many on, each of them waits: a connection before it is made; an agent before it
  // listens, so that its dump has begun and goes no further; a stream before it is closed.
  std::size_t connects_freely = static_cast<std::size_t>(-1);
  std::size_t starts_freely = static_cast<std::size_t>(-1);
  std::size_t closes_freely = static_cast<std::size_t>(-1);
  // Hosts whose login asks a person, who answers when he is released.
  std::set<std::string> asking_hosts;

  [[nodiscard]] std::size_t connects() const noexcept { return connects_; }
  [[nodiscard]] std::size_t starts() const noexcept { return starts_; }
  [[nodiscard]] std::size_t connecting() const noexcept { return connecting_; }
  [[nodiscard]] std::size_t closing() const noexcept { return closing_; }
  [[nodiscard]] std::size_t asked() const noexcept { return asked_; }
  [[nodiscard]] std::size_t held_agents() const noexcept { return held_.size(); }
  [[nodiscard]] std::vector<std::string> const& commands() const noexcept { return commands_; }
  [[nodiscard]] std::size_t programs() const noexcept { return programs_.running(); }

  [[nodiscard]] host_connector connector() {
    return [this](fleet_target const& target, login_place& place) {
      return connect(*this, target.host, place);
    };
  }
  // Whoever waits by now goes on.
  void release() {
    released_.wake_all();
    for (auto* const io : std::exchange(held_, {})) io->resume();
  }

 private:
  struct our_end final : stream {
    our_end(memory_machines& where, std::unique_ptr<stream> io)
        : machines(where), inner(std::move(io)) {}
    task<std::size_t> read(byte_span to) override { return inner->read(to); }
    task<> write(byte_view bytes) override { return inner->write(bytes); }
    task<> write_eof() override { return inner->write_eof(); }
    task<exit_report> close() override {
      co_await turn(machines, machines.closes_, machines.closes_freely, machines.closing_);
      co_return co_await inner->close();
    }
    [[nodiscard]] std::string stderr_tail() const override { return inner->stderr_tail(); }
    [[nodiscard]] std::uint64_t wire_bytes() const noexcept override { return inner->wire_bytes(); }
    memory_machines& machines;
    std::unique_ptr<stream> inner;
  };

  struct host final : remote_host {
    explicit host(memory_machines& where) : machines(where) {}
    task<std::unique_ptr<stream>> exec(std::string command, std::size_t) override {
      auto ends = make_memory_stream_pair(machines.executor_, 65536);
      machines.programs_.spawn(program(machines, std::move(ends.second), std::move(command)));
      co_return std::make_unique<our_end>(machines, std::move(ends.first));
    }
    task<bool> put_file(std::string, byte_view) override { co_return false; }
    task<> close() override { co_return; }
    [[nodiscard]] std::string description() const override { return "memory"; }
    memory_machines& machines;
  };

  // Counts one more, which waits where so many may not go freely, and counts who waits.
  static task<> turn(memory_machines& self, std::size_t& begun, std::size_t freely,
                     std::size_t& waiting) {
    if (begun++ < freely) co_return;
    struct waiter {
      std::size_t& count;
      explicit waiter(std::size_t& c) : count(c) { ++count; }
      ~waiter() { --count; }
    } const counted(waiting);
    co_await self.released_.wait();
  }

  static task<std::unique_ptr<remote_host>> connect(memory_machines& self, std::string name,
                                                    login_place& place) {
    co_await turn(self, self.connects_, self.connects_freely, self.connecting_);
    if (self.asking_hosts.contains(name)) {
      place.question_comes();
      co_await turn(self, self.questions_, 0, self.asked_);
    }
    co_return std::make_unique<host>(self);
  }

  static task<> program(memory_machines& self, std::unique_ptr<memory_stream> io,
                        std::string command) {
    try {
      constexpr std::string_view mark = "diskdump-";
      auto const at = command.find(mark);
      if (at == std::string::npos) {
        co_await run_script(self, *io);
      } else {
        co_await run_agent(self, std::move(io), command.substr(at + mark.size(), 32));
      }
    } catch (std::exception const&) {
      // The dump left it; what became of the target is what a test looks at.
    }
  }

  static task<> run_agent(memory_machines& self, std::unique_ptr<memory_stream> io,
                          std::string nonce) {
    auto const how = self.lies.empty() ? lie::none : self.lies.front();
    if (!self.lies.empty()) self.lies.pop_front();
    memory_agent agent(self.image, nonce_from_hex(nonce).value(), how);
    agent.dies_after = self.dies_after;
    agent.drips_by = self.timers;
    auto* const held = io.get();
    if (self.starts_++ >= self.starts_freely) {
      io->stall();
      self.held_.insert(held);
    }
    auto const report = "diskdump-" + nonce + ":run:here\n";
    co_await io->write(as_bytes(report));
    std::exception_ptr failure;
    try {
      co_await agent.serve(std::move(io));
    } catch (...) {
      failure = std::current_exception();
    }
    self.held_.erase(held);
    if (failure) std::rethrow_exception(failure);
  }

  // A shell that takes a script of `--pre` or `--post`, and says that it ended well.
  static task<> run_script(memory_machines& self, memory_stream& io) {
    std::string script;
    byte_vector buffer(4096);
    while (auto const n = co_await io.read(byte_span(buffer))) {
      script += as_text(byte_view(buffer).first(n));
    }
    self.commands_.push_back(script);
    // It begins with "echo MARK:begin".
    auto const mark = script.substr(5, script.find(':') - 5);
    auto const report = mark + ":begin\n" + mark + ":status:0\n";
    co_await io.write(as_bytes(report));
  }

  asio::any_io_executor executor_;
  std::size_t connects_ = 0, starts_ = 0, closes_ = 0;
  std::size_t connecting_ = 0, closing_ = 0;
  std::size_t questions_ = 0, asked_ = 0;
  std::vector<std::string> commands_;
  std::set<memory_stream*> held_;
  wait_list released_;
  scope programs_;
};

// One fleet, from its start to its end, on the test's own turns.
struct fleet_by_hand {
  fleet_of_images disks{store_format::loose, jobs_run::on_loop};
  memory_machines machines{disks.loop.get_executor()};
  silent_observer observer;
  std::vector<fleet_target> targets;
  std::unique_ptr<spawned> dump;

  // Runs until everybody waits.
  void begin(fleet_options options) {
    dump = start(disks.loop, dump_fleet(disks.context, machines.connector(), targets,
                                        std::move(options), observer));
  }
  void release() {
    machines.release();
    settle(disks.loop);
  }
  void cancel() {
    dump->cancel();
    settle(disks.loop);
  }
  // A dump that goes on fails the test instead of hanging it.
  void require_end() {
    if (!dump->ended) {
      MESSAGE("the dump goes on");
      std::abort();
    }
    release();  // an agent that was held hears of it
    CHECK_FALSE(dump->failure);
    CHECK(machines.programs() == 0);
    CHECK(observer.ended == targets.size());
  }
};

}  // namespace diskdump
