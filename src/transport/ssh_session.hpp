// The Asio shell around one ssh_machine: the socket on the event loop's thread, the machine's calls
// on the worker pool under one serial queue. Everything else about SSH is written as steps that
// drive() repeats until they are done.
//
// The socket is read straight into the machine's ring, and no further than that has room and the
// other end takes what there is to send. What
// comes while nobody drives the machine is taken in by a pump, so that rekeying and the server's
// keep-alives are answered however long the owner of a stream is busy elsewhere; how much libssh2
// then holds is bounded by the channels' windows.
//
// An established session that is silent is asked for a sign of life, and ends where none comes.
//
// A session is shared by its host and streams, and by the socket operations under way, so that each
// of them may be dropped at any time. All calls come from the event loop's thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>

#include "async/wait_list.hpp"
#include "transport/alive_watch.hpp"
#include "transport/connect.hpp"
#include "transport/serial_queue.hpp"
#include "transport/ssh_machine.hpp"

namespace diskdump {

class ssh_session : public std::enable_shared_from_this<ssh_session> {
 public:
  // Where a step runs. Those that wait for a person, a key file or an ssh-agent block, and only
  // happen before establish(), while nothing else uses the machine.
  enum class runner : std::uint8_t { workers, blocking };

  ssh_session(connect_context const& context, asio::ip::tcp::socket socket, std::string host);

  // Begins to read the socket. Once.
  void start() { read_socket(); }
  // Authenticated: from now on the pump runs, and traffic counts as that of the streams.
  void establish() noexcept;
  // Closes the socket; every drive() throws. Idempotent.
  void stop() noexcept;

  // Repeats `step(machine)`, which gives an optional, until that has a value, and completes with
  // it, resuming on the executor. Throws connection_lost where the session ends before; lets other
  // ssh_failures of the step through. Cancelled: throws, between two calls of the step.
  template <class F>
  [[nodiscard]] task<typename std::invoke_result_t<F&, ssh_machine&>::value_type> drive(
      F step, runner where = runner::workers) {
    auto const self = shared_from_this();
    ++driving_;
    struct leave {
      ssh_session& session;
      bool waiting = false;  // destroyed then, the loop is being torn down: nothing may be started
      ~leave() {
        --session.driving_;
        if (!waiting) session.pump();
      }
    } leaving{*this};
    for (unsigned idle_rounds = 0;;) {
      if (stopped_) throw lost();
      auto const seen = arrivals_;
      std::invoke_result_t<F&, ssh_machine&> value;
      bool starved = true;
      std::optional<ssh_failure> failed;
      auto call = [&] {
        try {
          value = step(machine_);
        } catch (ssh_failure const& e) {
          failed = e;
        }
        starved = machine_.starved();
      };
      leaving.waiting = true;
      co_await hop(where, call);
      leaving.waiting = false;
      read_socket();
      if (failed) {
        if (!failed->connection()) throw *failed;
        note_reason(failed->what());
        if (failed->negotiation()) throw *failed;
        auto const why = lost();
        stop();
        throw why;
      }
      if (value) co_return std::move(*value);
      // "Again" without having asked for more input happens between the states of libssh2.
      if (arrivals_ != seen || (!starved && ++idle_rounds < 16)) continue;
      idle_rounds = 0;
      if (input_ended_) throw lost();
      leaving.waiting = true;
      try {
        co_await arrived_.wait();
      } catch (...) {
        leaving.waiting = false;  // cancelled, not destroyed
        throw;
      }
      leaving.waiting = false;
    }
  }

  // Completes when what is to be sent is at most `bytes`, resuming on the executor.
  [[nodiscard]] task<> wait_sent(std::size_t bytes);

  // The channel is closed and freed in the background.
  void abandon(ssh_channel& channel);
  // An open() that was begun is not driven further.
  void forget_open() noexcept { machine_.forget_open(); }

  // One channel is opened at a time. Completes when it is the caller's turn; open_done() ends it.
  [[nodiscard]] task<> open_turn();
  void open_done();

  [[nodiscard]] std::string const& host() const noexcept { return host_; }
  [[nodiscard]] connect_context const& context() const noexcept { return context_; }
  // The error of a session that is over.
  [[nodiscard]] error lost() const;

  // Bytes on the socket for `payload_bytes` of a stream, in proportion to what all streams carried.
  [[nodiscard]] std::uint64_t wire_bytes_of(std::uint64_t payload_bytes) const noexcept;
  void count_payload(std::size_t bytes) noexcept { payload_bytes_ += bytes; }

 private:
  // Runs `call` where it belongs and completes when it has returned and its output is on the way.
  // Not cancellable: `call` refers to the caller's frame.
  template <class F>
  task<> hop(runner where, F& call) {
    byte_vector output;
    co_await asio::async_initiate<asio::use_awaitable_t<asio::any_io_executor> const,
                                  void(asio::error_code)>(
        [&](auto handler) {
          auto alive = asio::prefer(context_.executor, asio::execution::outstanding_work.tracked);
          auto job = [this, &call, &output, alive = std::move(alive),
                      handler = std::move(handler)]() mutable {
            call();
            output = machine_.take_output();
            auto const target = alive;
            asio::post(target, [handler = std::move(handler)]() mutable {
              std::move(handler)(asio::error_code());
            });
          };
          if (where == runner::workers) {
            strand_.post(std::move(job));
          } else {
            asio::post(context_.blocking.executor(), std::move(job));
          }
        },
        asio::use_awaitable);
    send(std::move(output));
  }

  void read_socket();
  void send(byte_vector output);
  void write_socket();
  void pump();
  void watch();
  void ask_for_life();
  void note_reason(std::string_view reason);

  connect_context context_;
  asio::ip::tcp::socket socket_;
  std::string host_;
  serial_queue strand_;
  ssh_machine machine_;

  bool stopped_ = false;
  bool established_ = false;
  bool reading_ = false;
  bool writing_ = false;
  bool pumping_ = false;
  bool input_ended_ = false;
  bool opening_ = false;
  unsigned driving_ = 0;        // coroutines in drive()
  std::uint64_t pumped_ = 0;    // arrivals_ when the last pump began
  std::uint64_t arrivals_ = 0;  // reads of the socket that brought something, or its end
  std::string reason_;          // why the session is over: the first that was noted
  std::deque<byte_vector> outgoing_;
  std::size_t outgoing_bytes_ = 0;
  wait_list arrived_;
  wait_list sent_;
  wait_list opened_;
  alive_watch alive_;
  asio::steady_timer next_look_;  // at alive_, once established

  std::uint64_t socket_bytes_ = 0;   // since establish()
  std::uint64_t payload_bytes_ = 0;  // since establish()
};

}  // namespace diskdump
