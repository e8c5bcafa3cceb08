#include "network.hpp"

#include <algorithm>

#include "async/timeout.hpp"
#include "base/assert.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "codec/digest.hpp"

namespace diskdump::simulation {

namespace {

constexpr std::string_view agent_content = "the agent, as it is uploaded";
constexpr std::size_t nonce_digits = 32;

session_nonce nonce_of(std::string const& hex) {
  session_nonce nonce{};
  DISKDUMP_ASSERT(hex.size() == nonce_digits);
  for (std::size_t i = 0; i < nonce.size(); ++i) {
    nonce[i] = static_cast<std::byte>(std::stoul(hex.substr(2 * i, 2), nullptr, 16));
  }
  return nonce;
}

// The nonce stands in every command of the deployment: after "serve ", or in the mark.
std::string nonce_in(std::string const& command) {
  for (std::string_view const before : {"serve ", "echo \"diskdump-"}) {
    auto const at = command.find(before);
    if (at != std::string::npos) return command.substr(at + before.size(), nonce_digits);
  }
  DISKDUMP_ASSERT(false);
  return {};
}

}  // namespace

// ---- Our end ------------------------------------------------------------------------------------

class simulated_stream final : public stream {
 public:
  simulated_stream(network& net, std::shared_ptr<connection> link)
      : net_(net), link_(std::move(link)) {
    ++net_.open_streams_;
  }
  ~simulated_stream() override { leave(); }

  task<std::size_t> read(byte_span to) override { return link_->read(connection::end::ours, to); }
  task<> write(byte_view bytes) override {
    if (net_.settles_lost_) return write_without_settles(bytes);
    return link_->write(connection::end::ours, bytes);
  }
  task<> write_eof() override {
    link_->finish(connection::end::ours);
    co_return;
  }
  // As the real ones: waits a little for the program's end.
  task<exit_report> close() override {
    link_->leave(connection::end::ours);
    try {
      co_await with_timeout(net_.timers_, limits::close_wait_max, link_->wait_for_exit());
    } catch (error const& e) {
      if (!is_timeout(e)) throw;
    }
    leave();
    co_return link_->exited().value_or(exit_report{});
  }
  [[nodiscard]] std::string stderr_tail() const override {
    return link_->exited().value_or(exit_report{}).stderr_tail;
  }
  [[nodiscard]] std::uint64_t wire_bytes() const noexcept override {
    return link_->carried_bytes();
  }

 private:
  // A session gives whole frames.
  task<> write_without_settles(byte_view bytes) {
    while (!bytes.empty()) {
      auto const size = std::min<std::size_t>(
          bytes.size(), limits::frame_header_bytes + load_le<std::uint32_t>(bytes.data()));
      if (bytes[4] != static_cast<std::byte>(message_kind::settle)) {
        co_await link_->write(connection::end::ours, bytes.first(size));
      }
      bytes = bytes.subspan(size);
    }
  }
  void leave() {
    if (std::exchange(left_, true)) return;
    link_->leave(connection::end::ours);
    net_.carried_bytes_ += link_->carried_bytes();
    --net_.open_streams_;
  }
  network& net_;
  std::shared_ptr<connection> link_;
  bool left_ = false;
};

class simulated_host final : public remote_host {
 public:
  simulated_host(network& net, network::machine& where) : net_(net), where_(where) {
    ++net_.open_hosts_;
  }
  ~simulated_host() override {
    if (!closed_) --net_.open_hosts_;
  }

  task<std::unique_ptr<stream>> exec(std::string command, std::size_t window_bytes) override {
    auto const& plan = *where_.plan;
    net_.last_beginning_ = net_.timers_.clock().now();
    co_await net_.timers_.sleep(plan.latency);
    if (*broken_) throw_broken();
    auto link = std::make_shared<connection>(
        net_.executor_, net_.timers_,
        link_properties{.latency = plan.latency,
                        .bytes_per_second = plan.bytes_per_second,
                        .window_bytes = std::min(window_bytes, plan.window_bytes_max),
                        .stdin_bytes = plan.stdin_bytes_max,
                        .read_bytes_max = plan.read_bytes_max},
        net_.random_.fork(), net_.events_);
    links_->push_back(link);
    net_.connections_.push_back(link);
    auto const start = where_.starts++;
    bool const well = net_.healed_ || start >= plan.starts.size();
    auto const fault = well ? start_fault::none : plan.starts[start];
    auto mine = std::make_unique<simulated_stream>(net_, link);
    net_.programs_.spawn(net_.program(where_, std::move(link), std::move(command), fault));
    co_return mine;
  }
  task<bool> put_file(std::string path, byte_view content) override {
    co_await net_.timers_.sleep(where_.plan->latency);
    if (*broken_) throw_broken();
    if (!where_.plan->has_sftp) co_return false;
    where_.has_upload = as_text(content) == agent_content && path.ends_with(".tmp");
    co_return true;
  }
  task<> close() override {
    if (!std::exchange(closed_, true)) --net_.open_hosts_;
    co_return;
  }
  [[nodiscard]] std::string description() const override { return "simulated"; }

  // The connection breaks later, with all of its streams.
  void break_at(std::chrono::milliseconds when) {
    net_.programs_.spawn(break_later(net_.timers_, when, broken_, links_));
  }

 private:
  using link_list = std::vector<std::weak_ptr<connection>>;
  static task<> break_later(timer_source& timers, std::chrono::milliseconds when,
                            std::shared_ptr<bool> broken, std::shared_ptr<link_list> links) {
    co_await timers.sleep(when);
    *broken = true;
    for (auto const& weak : *links) {
      if (auto const link = weak.lock()) link->cut();
    }
  }
  [[noreturn]] static void throw_broken() {
    throw error(transport_errc::connection_lost, severity::transient);
  }
  network& net_;
  network::machine& where_;
  std::shared_ptr<bool> broken_ = std::make_shared<bool>(false);
  std::shared_ptr<link_list> links_ = std::make_shared<link_list>();
  bool closed_ = false;
};

// ---- Their end ----------------------------------------------------------------------------------

network::network(asio::any_io_executor executor, timer_source& timers, scenario const& plan,
                 random_sequence random, trace& events)
    : executor_(executor),
      timers_(timers),
      plan_(plan),
      random_(random),
      events_(events),
      binary_{"x86_64", as_bytes(agent_content), sha256(as_bytes(agent_content))},
      attempts_(plan.targets.size()),
      programs_(executor) {
  for (std::size_t i = 0; i < plan.hosts.size(); ++i) {
    auto& m = machines_[plan.hosts[i].name];
    m.plan = &plan.hosts[i];
    m.number = i;
    m.has_agent = plan.hosts[i].has_agent;
  }
}

network::~network() = default;

agent_images network::agents() const { return {std::span(&binary_, 1), {}}; }

host_connector network::connector() {
  return [this](fleet_target const& target, login_place&) { return connect(target.host); };
}

void network::heal() {
  healed_ = true;
  carried_bytes_ = 0;
  records_.clear();
  for (std::size_t i = 0; i < attempts_.size(); ++i) {
    attempts_[i] = plan_.targets[i].attempts.size() - 1;
  }
}

task<> network::programs_ended() {
  try {
    co_await programs_.join();
  } catch (std::exception const& e) {
    DISKDUMP_ASSERT(std::string_view(e.what()).empty());  // they keep their failures to themselves
  }
}

task<std::unique_ptr<remote_host>> network::connect(std::string name) {
  auto& where = machines_.at(name);
  auto const& plan = *where.plan;
  auto const number = where.connects++;
  last_beginning_ = timers_.clock().now();
  co_await timers_.sleep(plan.latency * 3);
  if (!healed_ && number < plan.connects.size()) {
    switch (plan.connects[number]) {
      case host_plan::connect_fault::none:
        break;
      case host_plan::connect_fault::refused:
        throw error(transport_errc::cannot_connect, severity::transient).cause("refused");
      case host_plan::connect_fault::refuses_login:
        throw error(transport_errc::authentication_failed, severity::permanent);
      case host_plan::connect_fault::times_out:
        co_await timers_.sleep(limits::connect_timeout_max);
        throw error(transport_errc::cannot_connect, severity::transient).cause("timed out");
    }
  }
  auto host = std::make_unique<simulated_host>(*this, where);
  if (!healed_ && plan.breaks_at && number == 0) host->break_at(*plan.breaks_at);
  co_return host;
}

task<> network::program(machine& where, std::shared_ptr<connection> link, std::string command,
                        start_fault fault) {
  try {
    co_await shell(where, link, std::move(command), fault);
  } catch (std::exception const&) {
    // The connection is lost, and the program with it.
  }
  if (!link->exited()) link->set_exit({});
  link->leave(connection::end::theirs);
}

task<> network::shell(machine& where, std::shared_ptr<connection> link, std::string command,
                      start_fault fault) {
  auto const nonce = nonce_in(command);
  auto const theirs = connection::end::theirs;
  std::string out;
  for (unsigned i = 0; i < where.plan->login_noise_lines; ++i) out += "Welcome to this machine.\n";
  switch (fault) {
    case start_fault::none:
    case start_fault::other_agent:
      break;
    case start_fault::refused:
      link->set_exit({.status = 126, .signal = {}, .stderr_tail = "sh: permission denied"});
      co_return;
    case start_fault::ends_silently:
      link->set_exit({.status = 0, .signal = {}, .stderr_tail = {}});
      co_return;
    case start_fault::cut:
      co_await link->write(theirs, as_bytes(out));
      link->cut();
      co_return;
    case start_fault::hangs: {
      byte_vector nothing(1);
      while (co_await link->read(theirs, nothing) > 0) {
      }
      co_return;
    }
  }
  if (command.find("cat > ") != std::string::npos) {
    byte_vector all;
    byte_vector buffer(limits::control_read_bytes);
    while (auto const n = co_await link->read(theirs, buffer)) {
      append_bytes(all, byte_view(buffer).first(n));
    }
    where.has_upload = as_text(all) == agent_content;
    out += format("diskdump-{}:got\n", nonce);
    co_await link->write(theirs, as_bytes(out));
    link->set_exit({.status = 0, .signal = {}, .stderr_tail = {}});
    co_return;
  }
  bool const installs = command.find(".tmp\\\"; chmod 500") != std::string::npos ||
                        command.find(".tmp\"; chmod 500") != std::string::npos;
  if (installs && where.has_upload) where.has_agent = true;
  if (!where.has_agent) {
    out += format("diskdump-{0}:dir:1:/root/.cache/diskdump\ndiskdump-{0}:end:0:x86_64\n", nonce);
    co_await link->write(theirs, as_bytes(out));
    link->set_exit({.status = 0, .signal = {}, .stderr_tail = {}});
    co_return;
  }
  out += format("diskdump-{}:run:/root/.cache/diskdump/agent\n", nonce);
  co_await link->write(theirs, as_bytes(out));
  co_await agent(where, link, nonce, fault == start_fault::other_agent);
}

task<> network::agent(machine& where, std::shared_ptr<connection> link, std::string nonce_hex,
                      bool other_agent) {
  auto digest = binary_.digest;
  if (other_agent) digest.bytes[0] ^= std::byte{1};
  simulated_agent program(
      executor_, timers_, link, nonce_of(nonce_hex), digest,
      [this, &where](std::string const& path) { return assign(where, path); }, random_.fork());
  link->set_exit(co_await program.run());
}

assignment network::assign(machine const& where, std::string const& path) {
  auto const at = std::find_if(plan_.targets.begin(), plan_.targets.end(), [&](auto const& t) {
    return t.host == where.number && t.path == path;
  });
  DISKDUMP_ASSERT(at != plan_.targets.end());
  auto const number = static_cast<std::size_t>(at - plan_.targets.begin());
  auto const attempt = attempts_[number]++;
  auto const& plan = at->attempts[std::min(attempt, at->attempts.size() - 1)];
  auto& record = records_.emplace_back();
  record.target = number;
  record.attempt = attempt;
  record.second_source = plan.changed_source;
  bool const other_identity = plan.changed_source && at->second_same_size;
  return {plan.changed_source ? &at->second : &at->first,
          other_identity ? "serial=second" : "serial=first", plan, &record};
}

std::string network::state() const {
  std::string text = format("  {} programs, {} streams, {} hosts open\n", programs_.running(),
                            open_streams_, open_hosts_);
  for (auto const& weak : connections_) {
    if (auto const link = weak.lock()) text += "  connection " + link->state() + '\n';
  }
  return text;
}

}  // namespace diskdump::simulation
