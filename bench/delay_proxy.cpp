// A long way on loopback: delay_proxy LISTEN_PORT TARGET_PORT DELAY_MS_ONE_WAY
//
// Connections to 127.0.0.1:LISTEN_PORT go to 127.0.0.1:TARGET_PORT, and every byte arrives
// DELAY_MS_ONE_WAY later, in both directions, so that a round trip takes twice that. Only time is
// added: up to 1 GB/s is under way per direction. Opening a connection takes what TCP's
// handshake would: the target is reached three ways after the client's connect(), and what the
// client sent meanwhile with it. An end of stream is passed on as one, after the bytes before it.
//
// LISTEN_PORT 0 takes a free port. Prints `port N` once it listens; runs until it is killed. One
// thread; `bench/delay_proxy.py` starts it for other programs and measures it.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <list>
#include <system_error>
#include <vector>

namespace {

using steady = std::chrono::steady_clock;
using time_point = steady::time_point;

// What one direction may have under way: more than libssh2 or OpenSSH move over loopback.
constexpr double path_bytes_per_s = 1e9;
// Beside that, so that a receiver which takes turns with others does not hold up the sender: the
// largest receive buffer that Linux gives a socket by itself (tcp_rmem).
constexpr std::size_t slack_bytes = 6U << 20;
// Read at a time: at 1 GB/s bytes wait at most a quarter of a millisecond for those beside them.
constexpr std::size_t read_bytes_max = 256U << 10;
constexpr int backlog_connections = 1024;

[[noreturn]] void fail(char const* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

// Bytes in the order in which they came. The memory is taken once; what was never used costs none.
class byte_queue {
 public:
  explicit byte_queue(std::size_t bytes_max) : size_(bytes_max) {
    void* const memory =
        ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) fail("mmap");
    memory_ = static_cast<std::byte*>(memory);
    // Fewer faults on the first way round; without it all is the same.
    (void)::madvise(memory, size_, MADV_HUGEPAGE);
  }
  ~byte_queue() { ::munmap(memory_, size_); }
  byte_queue(byte_queue const&) = delete;
  byte_queue& operator=(byte_queue const&) = delete;

  [[nodiscard]] std::size_t held() const { return held_; }
  [[nodiscard]] std::size_t room() const { return size_ - held_; }
  // Up to `bytes` of room behind what is held, in one or two parts.
  std::array<iovec, 2> room_parts(std::size_t bytes) {
    return parts((first_ + held_) % size_, std::min(bytes, room()));
  }
  std::array<iovec, 2> held_parts(std::size_t bytes) {
    return parts(first_, std::min(bytes, held_));
  }
  void add(std::size_t bytes) { held_ += bytes; }
  void drop(std::size_t bytes) {
    held_ -= bytes;
    // An empty queue starts again at its front, where the memory is in the processor's cache.
    first_ = held_ == 0 ? 0 : (first_ + bytes) % size_;
  }

 private:
  std::array<iovec, 2> parts(std::size_t at, std::size_t bytes) {
    auto const front = std::min(bytes, size_ - at);
    return {iovec{memory_ + at, front}, iovec{memory_, bytes - front}};
  }
  std::size_t size_;
  std::byte* memory_ = nullptr;
  std::size_t first_ = 0;
  std::size_t held_ = 0;
};

// One direction of a connection.
class direction {
 public:
  direction(std::size_t bytes_max) : queue_(bytes_max) {}

  [[nodiscard]] bool wants_bytes() const { return !ended_ && queue_.room() > 0; }
  [[nodiscard]] bool is_blocked() const { return blocked_; }
  [[nodiscard]] bool is_done() const { return passed_end_; }
  // When there is something to do that needs no event.
  [[nodiscard]] time_point due() const {
    return marks_.empty() || blocked_ ? time_point::max() : marks_.front().due;
  }

  // Takes what there is; it is to arrive at `due`. False: the connection broke.
  bool take(int from, time_point due) {
    auto parts = queue_.room_parts(read_bytes_max);
    auto const got = ::readv(from, parts.data(), 2);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    ended_ = got == 0;
    queue_.add(static_cast<std::size_t>(got));
    marks_.push_back({due, static_cast<std::size_t>(got)});
    return true;
  }

  // Passes on what is due. False: the connection broke.
  bool give(int to, time_point now) {
    blocked_ = false;
    while (!marks_.empty() && marks_.front().due <= now) {
      auto& mark = marks_.front();
      if (mark.bytes > 0) {
        auto parts = queue_.held_parts(mark.bytes);
        auto const sent = ::writev(to, parts.data(), 2);
        if (sent < 0) {
          blocked_ = errno == EAGAIN;
          return blocked_ || errno == EINTR;
        }
        queue_.drop(static_cast<std::size_t>(sent));
        mark.bytes -= static_cast<std::size_t>(sent);
        if (mark.bytes > 0) continue;
      } else {
        (void)::shutdown(to, SHUT_WR);
        passed_end_ = true;
      }
      marks_.pop_front();
    }
    return true;
  }

 private:
  // The next `bytes` bytes are due then; none: the end of the stream.
  struct mark {
    time_point due;
    std::size_t bytes;
  };
  byte_queue queue_;
  std::deque<mark> marks_;
  bool ended_ = false;
  bool passed_end_ = false;
  bool blocked_ = false;
};

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

void send_at_once(int socket) {
  int const yes = 1;
  (void)::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

struct settings {
  int target_port;
  steady::duration delay;
  std::size_t queue_bytes_max;
};

class connection {
 public:
  connection(int client, settings const& s)
      : settings_(s),
        client_(client),
        opens_(steady::now() + 3 * s.delay),
        up_(s.queue_bytes_max),
        down_(s.queue_bytes_max) {
    send_at_once(client_);
  }
  ~connection() {
    ::close(client_);
    if (target_ >= 0) ::close(target_);
  }
  connection(connection const&) = delete;
  connection& operator=(connection const&) = delete;

  [[nodiscard]] time_point due() const {
    return target_ < 0 ? opens_ : std::min(up_.due(), down_.due());
  }

  // Both sockets with what they are waited for; none is waited for whose events would be nobody's.
  void add_to(std::vector<pollfd>& polled) const {
    add(polled, client_, up_, down_);
    add(polled, target_, down_, up_);
  }

  // False: it has ended.
  bool run(pollfd const& client, pollfd const& target) {
    auto const now = steady::now();
    if (target_ < 0 && now >= opens_ && !open()) return false;
    auto const arrives = now + settings_.delay;
    if (client.revents != 0 && up_.wants_bytes() && !up_.take(client_, std::max(arrives, opens_))) {
      return false;
    }
    if (target_ < 0) return true;
    if (target.revents != 0 && down_.wants_bytes() && !down_.take(target_, arrives)) return false;
    return give(up_, target_, target, now) && give(down_, client_, client, now) &&
           !(up_.is_done() && down_.is_done());
  }

 private:
  static bool give(direction& way, int to, pollfd const& polled, time_point now) {
    if (way.is_blocked() && polled.revents == 0) return true;
    return way.give(to, now);
  }

  static void add(std::vector<pollfd>& polled, int socket, direction const& out,
                  direction const& in) {
    auto const events =
        static_cast<short>((out.wants_bytes() ? POLLIN : 0) | (in.is_blocked() ? POLLOUT : 0));
    polled.push_back({events == 0 ? -1 : socket, events, 0});
  }

  bool open() {
    target_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    auto const address = loopback(settings_.target_port);
    // Loopback answers at once, so that the others are not held up.
    if (target_ < 0 ||
        ::connect(target_, reinterpret_cast<sockaddr const*>(&address), sizeof address) != 0) {
      return false;
    }
    send_at_once(target_);
    int const yes = 1;
    return ::ioctl(target_, FIONBIO, &yes) == 0;
  }

  settings const& settings_;
  int client_;
  int target_ = -1;
  time_point opens_;
  direction up_;
  direction down_;
};

int listen_at(int port) {
  int const listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  int const yes = 1;
  auto address = loopback(port);
  socklen_t length = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (listener < 0 || ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
      ::bind(listener, generic, length) != 0 || ::listen(listener, backlog_connections) != 0 ||
      ::getsockname(listener, generic, &length) != 0) {
    fail("listen");
  }
  std::printf("port %d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  return listener;
}

// Waits for an event or for the time at which something is due.
void wait(std::vector<pollfd>& polled, time_point due) {
  timespec left{};
  if (due != time_point::max()) {
    auto const ns = std::max<std::int64_t>(
        0, std::chrono::duration_cast<std::chrono::nanoseconds>(due - steady::now()).count());
    left.tv_sec = ns / 1'000'000'000;
    left.tv_nsec = ns % 1'000'000'000;
  }
  if (::ppoll(polled.data(), polled.size(), due == time_point::max() ? nullptr : &left, nullptr) <
          0 &&
      errno != EINTR) {
    fail("ppoll");
  }
}

void serve(int listener, settings const& s) {
  std::list<connection> connections;
  std::vector<pollfd> polled;
  for (;;) {
    polled.assign(1, {listener, POLLIN, 0});
    auto due = time_point::max();
    for (auto const& one : connections) {
      one.add_to(polled);
      due = std::min(due, one.due());
    }
    wait(polled, due);
    std::size_t at = 1;
    for (auto one = connections.begin(); one != connections.end(); at += 2) {
      one = one->run(polled[at], polled[at + 1]) ? std::next(one) : connections.erase(one);
    }
    if (polled[0].revents == 0) continue;
    int const client = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (client >= 0) connections.emplace_back(client, s);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fputs("usage: delay_proxy LISTEN_PORT TARGET_PORT DELAY_MS_ONE_WAY\n", stderr);
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);
  std::chrono::duration<double> const delay{std::atof(argv[3]) / 1e3};
  settings const s{std::atoi(argv[2]), std::chrono::duration_cast<steady::duration>(delay),
                   slack_bytes + static_cast<std::size_t>(path_bytes_per_s * delay.count())};
  try {
    serve(listen_at(std::atoi(argv[1])), s);
  } catch (std::exception const& failure) {
    std::fprintf(stderr, "delay_proxy: %s\n", failure.what());
    return 1;
  }
}
