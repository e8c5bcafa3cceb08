#include "transport/ssh_session.hpp"

#include "base/format.hpp"
#include "base/limits.hpp"

namespace diskdump {

ssh_session::ssh_session(connect_context const& context, asio::ip::tcp::socket socket,
                         std::string host)
    : context_(context),
      socket_(std::move(socket)),
      host_(std::move(host)),
      strand_(context.workers),
      arrived_(context.executor),
      sent_(context.executor),
      opened_(context.executor),
      next_look_(context.executor) {}

void ssh_session::establish() noexcept {
  established_ = true;
  socket_bytes_ = 0;
  watch();
}

void ssh_session::stop() noexcept {
  if (stopped_) return;
  stopped_ = true;
  machine_.end_input();
  asio::error_code ignored;
  socket_.close(ignored);
  next_look_.cancel();
  arrived_.wake_all();
  sent_.wake_all();
  opened_.wake_all();
}

void ssh_session::note_reason(std::string_view reason) {
  if (reason_.empty()) reason_ = printable(reason);
}

error ssh_session::lost() const {
  error e(transport_errc::connection_lost, severity::transient);
  e.host(host_);
  e.cause(!reason_.empty() ? std::string_view(reason_)
          : input_ended_   ? std::string_view("the server closed the connection")
                           : std::string_view("it was closed on this side"));
  return e;
}

void ssh_session::read_socket() {
  if (reading_ || stopped_ || input_ended_) return;
  // A server that asks and does not read gets no further: each request read is an answer to be
  // kept. Taken up again once enough has been sent. Our own streams stay below twice the send
  // buffer (each adds one piece to what one of them waited for), so that two ends that both have
  // much to say do not wait for each other.
  if (outgoing_bytes_ > 2 * limits::ssh_send_buffer_bytes_max) return;
  auto const room = machine_.input().writable();
  if (room.empty()) return;  // taken up again after the next hop
  reading_ = true;
  socket_.async_read_some(asio::buffer(room.data(), room.size()),
                          [self = shared_from_this()](asio::error_code failed, std::size_t n) {
                            self->reading_ = false;
                            if (self->stopped_) return;
                            self->machine_.input().commit(n);
                            self->socket_bytes_ += n;
                            ++self->arrivals_;
                            if (failed) {
                              if (failed != asio::error::eof) self->note_reason(failed.message());
                              self->input_ended_ = true;
                              self->machine_.end_input();
                            }
                            self->read_socket();
                            self->arrived_.wake_all();
                            self->pump();
                          });
}

void ssh_session::send(byte_vector output) {
  if (output.empty() || stopped_) return;
  outgoing_bytes_ += output.size();
  outgoing_.push_back(std::move(output));
  write_socket();
}

void ssh_session::write_socket() {
  if (writing_ || outgoing_.empty() || stopped_) return;
  writing_ = true;
  auto const& front = outgoing_.front();
  asio::async_write(socket_, asio::buffer(front.data(), front.size()),
                    [self = shared_from_this()](asio::error_code failed, std::size_t n) {
                      self->writing_ = false;
                      if (self->stopped_) return;
                      self->socket_bytes_ += n;
                      if (failed) {
                        // What the server said last may still be on its way in; the read's end ends
                        // the session.
                        self->note_reason(failed.message());
                        self->outgoing_.clear();
                        self->outgoing_bytes_ = 0;
                      } else {
                        self->outgoing_bytes_ -= self->outgoing_.front().size();
                        self->outgoing_.pop_front();
                      }
                      self->sent_.wake_all();
                      self->write_socket();
                      self->read_socket();
                    });
}

task<> ssh_session::wait_sent(std::size_t bytes) {
  auto const self = shared_from_this();
  while (outgoing_bytes_ > bytes) {
    if (stopped_) throw lost();
    co_await sent_.wait();
  }
}

void ssh_session::pump() {
  if (!established_ || pumping_ || driving_ > 0 || stopped_ || arrivals_ == pumped_) return;
  pumping_ = true;
  pumped_ = arrivals_;
  auto alive = asio::prefer(context_.executor, asio::execution::outstanding_work.tracked);
  strand_.post([self = shared_from_this(), alive = std::move(alive)]() mutable {
    std::optional<std::string> failed;
    try {
      self->machine_.pump();
    } catch (ssh_failure const& e) {
      if (e.connection()) failed = e.what();
    }
    auto output = self->machine_.take_output();
    auto const target = alive;
    asio::post(target, [self = std::move(self), output = std::move(output),
                        failed = std::move(failed)]() mutable {
      self->pumping_ = false;
      self->send(std::move(output));
      // Not stopped: data that came before the failure can still be read from the channels.
      if (failed) self->note_reason(*failed);
      self->read_socket();
      self->pump();
    });
  });
}

// A connection may stand idle for long: while other paths of the host are at work, while a command
// runs there that prints nothing, while this target waits for another one's blocks.
void ssh_session::watch() {
  next_look_.expires_after(context_.alive_interval);
  next_look_.async_wait([self = shared_from_this()](asio::error_code failed) {
    if (failed || self->stopped_ || self->input_ended_) return;
    switch (self->alive_.tick(self->arrivals_, self->reading_)) {
      case alive_watch::action::wait:
        break;
      case alive_watch::action::ask:
        self->ask_for_life();
        break;
      case alive_watch::action::give_up:
        self->note_reason(format("the server has not answered {} times", limits::alive_probes_max));
        self->stop();
        return;
    }
    self->watch();
  });
}

void ssh_session::ask_for_life() {
  auto alive = asio::prefer(context_.executor, asio::execution::outstanding_work.tracked);
  strand_.post([self = shared_from_this(), alive = std::move(alive)]() mutable {
    try {
      self->machine_.ask_for_life();
    } catch (ssh_failure const&) {
      // Whoever uses the session next hears of it.
    }
    auto output = self->machine_.take_output();
    auto const target = alive;
    asio::post(target, [self = std::move(self), output = std::move(output)]() mutable {
      self->send(std::move(output));
      self->read_socket();
    });
  });
}

void ssh_session::abandon(ssh_channel& channel) {
  strand_.post([self = shared_from_this(), &channel,
                alive = asio::prefer(context_.executor,
                                     asio::execution::outstanding_work.tracked)]() mutable {
    self->machine_.abandon(channel);
    auto output = self->machine_.take_output();
    auto const target = alive;
    asio::post(target, [self = std::move(self), output = std::move(output)]() mutable {
      self->send(std::move(output));
      self->read_socket();
    });
  });
}

task<> ssh_session::open_turn() {
  auto const self = shared_from_this();
  while (opening_) {
    if (stopped_) throw lost();
    co_await opened_.wait();
  }
  opening_ = true;
}

void ssh_session::open_done() {
  opening_ = false;
  opened_.wake_one();
}

std::uint64_t ssh_session::wire_bytes_of(std::uint64_t payload_bytes) const noexcept {
  if (payload_bytes_ == 0) return 0;
  auto const share = static_cast<long double>(socket_bytes_) / payload_bytes_;
  return static_cast<std::uint64_t>(share * payload_bytes);
}

}  // namespace diskdump
