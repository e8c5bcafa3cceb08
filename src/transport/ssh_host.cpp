#include "transport/ssh_host.hpp"

#include "async/timeout.hpp"
#include "base/assert.hpp"
#include "base/limits.hpp"
#include "transport/sftp_upload.hpp"

namespace diskdump {

namespace {

// What one call of the machine's write takes: small enough that the output it leaves behind stays
// within limits::ssh_send_buffer_bytes_max together with what waits for the socket.
constexpr std::size_t piece_bytes = 256 * limits::KiB;
static_assert(2 * piece_bytes <= limits::ssh_send_buffer_bytes_max);

class ssh_stream final : public stream {
 public:
  ssh_stream(std::shared_ptr<ssh_session> session, ssh_channel& channel)
      : session_(std::move(session)), channel_(&channel) {}
  ~ssh_stream() override { release(); }

  task<std::size_t> read(byte_span to) override {
    DISKDUMP_ASSERT(!to.empty() && channel_ != nullptr);
    auto* const channel = channel_;
    std::size_t n = 0;
    try {
      n = co_await session_->drive(
          [channel, to](ssh_machine& machine) { return machine.read(*channel, to); });
    } catch (ssh_failure const& failed) {
      throw channel_lost(failed.what());
    }
    count(n);
    co_return n;
  }

  task<> write(byte_view bytes) override {
    DISKDUMP_ASSERT(channel_ != nullptr);
    auto* const channel = channel_;
    while (!bytes.empty()) {
      co_await session_->wait_sent(limits::ssh_send_buffer_bytes_max - 2 * piece_bytes);
      auto const part = bytes.first(std::min(bytes.size(), piece_bytes));
      std::size_t n = 0;
      try {
        n = co_await session_->drive(
            [channel, part](ssh_machine& machine) { return machine.write(*channel, part); });
      } catch (ssh_failure const& failed) {
        throw channel_lost(std::string("the program reads no further: ") + failed.what());
      }
      count(n);
      bytes = bytes.subspan(n);
    }
  }

  task<> write_eof() override {
    DISKDUMP_ASSERT(channel_ != nullptr);
    auto* const channel = channel_;
    if (eof_sent_) co_return;
    eof_sent_ = true;
    try {
      co_await session_->drive([channel](ssh_machine& m) { return m.write_eof(*channel); });
    } catch (ssh_failure const&) {
      // The program has ended meanwhile.
    }
  }

  task<exit_report> close() override {
    DISKDUMP_ASSERT(channel_ != nullptr);
    exit_report report;
    try {
      auto const end =
          co_await with_timeout(session_->context().timers, limits::close_wait_max, finish());
      report.status = end.status;
      report.signal = end.signal;
    } catch (error const& e) {
      if (!is_timeout(e) && !(e.code() == transport_errc::connection_lost)) throw;
    } catch (ssh_failure const&) {
    }
    report.stderr_tail = stderr_tail();
    release();
    co_return report;
  }

  std::string stderr_tail() const override {
    return channel_ != nullptr ? ssh_machine::stderr_tail(*channel_) : last_errors_;
  }

  std::uint64_t wire_bytes() const noexcept override {
    // The share can shrink by a hair while another stream carries data; what was said stands.
    wire_bytes_ = std::max(wire_bytes_, session_->wire_bytes_of(payload_bytes_));
    return wire_bytes_;
  }

 private:
  task<ssh_machine::channel_end> finish() {
    auto* const channel = channel_;
    co_await write_eof();
    co_return co_await session_->drive(
        [channel](ssh_machine& machine) { return machine.finish(*channel); });
  }
  // The channel is of no use any more; the session may well be.
  [[nodiscard]] error channel_lost(std::string_view cause) const {
    return error(transport_errc::connection_lost, severity::transient)
        .host(session_->host())
        .cause(printable(cause));
  }
  void count(std::size_t bytes) noexcept {
    payload_bytes_ += bytes;
    session_->count_payload(bytes);
  }
  void release() {
    if (channel_ == nullptr) return;
    last_errors_ = ssh_machine::stderr_tail(*channel_);
    session_->abandon(*std::exchange(channel_, nullptr));
  }

  std::shared_ptr<ssh_session> session_;
  ssh_channel* channel_;  // null after close()
  std::string last_errors_;
  bool eof_sent_ = false;
  std::uint64_t payload_bytes_ = 0;
  mutable std::uint64_t wire_bytes_ = 0;
};

class ssh_host final : public remote_host {
 public:
  explicit ssh_host(std::shared_ptr<ssh_session> session) : session_(std::move(session)) {}
  ~ssh_host() override { session_->stop(); }

  task<std::unique_ptr<stream>> exec(std::string command, std::size_t window_bytes) override {
    co_return co_await start("exec", std::move(command), window_bytes);
  }

  task<bool> put_file(std::string path, byte_view content) override {
    std::unique_ptr<stream> sftp;
    try {
      sftp = co_await start("subsystem", "sftp", limits::channel_window_bytes_min);
    } catch (error const& e) {
      bool const refused =
          e.code() == transport_errc::cannot_exec || e.code() == transport_errc::no_more_sessions;
      if (refused) co_return false;
      throw;
    }
    co_return co_await sftp_upload(*sftp, session_->host(), std::move(path), content);
  }

  task<> close() override {
    try {
      co_await with_timeout(session_->context().timers, limits::close_wait_max, goodbye());
    } catch (error const&) {
      // It was lost or does not take the message: the end is the same.
    }
    session_->stop();
  }

  std::string description() const override { return "ssh (libssh2)"; }

 private:
  task<> goodbye() {
    co_await session_->drive([](ssh_machine& machine) {
      machine.disconnect();
      return std::optional<done>(done{});
    });
    co_await session_->wait_sent(0);
  }

  task<ssh_channel*> open(std::size_t window_bytes) {
    co_await session_->open_turn();
    struct turn {
      ssh_session& session;
      bool complete = false;
      ~turn() {
        if (!complete) session.forget_open();
        session.open_done();
      }
    } mine{*session_};
    // sshd frees a session that was closed only once it has read all that lies there: a request
    // that comes close behind the end of another channel meets the session of that one.
    auto pause = limits::session_pause_first;
    for (int tries_left = limits::session_tries_max;; pause *= 2) {
      mine.complete = false;
      try {
        auto* const channel = co_await session_->drive(
            [window_bytes](ssh_machine& machine) { return machine.open(window_bytes); });
        mine.complete = true;
        co_return channel;
      } catch (ssh_failure const&) {
        mine.complete = true;
        if (--tries_left == 0) throw;
      }
      co_await session_->context().timers.sleep(pause);
    }
  }

  // `request` is a literal.
  task<std::unique_ptr<stream>> start(std::string_view request, std::string argument,
                                      std::size_t window_bytes) {
    std::unique_ptr<ssh_stream> io;
    try {
      auto* const channel = co_await open(window_bytes);
      io = std::make_unique<ssh_stream>(session_, *channel);
      co_await session_->drive([channel, request, &argument](ssh_machine& machine) {
        return machine.start(*channel, request, argument);
      });
    } catch (ssh_failure const& failed) {
      auto const code = io ? transport_errc::cannot_exec : transport_errc::no_more_sessions;
      throw error(code, severity::permanent)
          .host(session_->host())
          .cause(failed.what())
          .remedy(io ? "" : "see MaxSessions in the server's sshd_config");
    }
    co_return io;
  }

  std::shared_ptr<ssh_session> session_;
};

}  // namespace

std::unique_ptr<remote_host> make_ssh_host(std::shared_ptr<ssh_session> session) {
  return std::make_unique<ssh_host>(std::move(session));
}

}  // namespace diskdump
