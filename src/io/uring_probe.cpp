#include <liburing.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string_view>

#include "io/disk.hpp"
#include "io/unique_fd.hpp"

namespace diskdump {

namespace {

struct probe_ring {
  io_uring uring{};
  bool ready = ::io_uring_queue_init(2, &uring, 0) == 0;
  probe_ring() = default;
  probe_ring(probe_ring const&) = delete;
  probe_ring& operator=(probe_ring const&) = delete;
  ~probe_ring() {
    if (ready) ::io_uring_queue_exit(&uring);
  }
};

bool operations_supported(io_uring& uring) {
  auto* const probe = ::io_uring_get_probe_ring(&uring);
  if (probe == nullptr) return false;
  bool const all = ::io_uring_opcode_supported(probe, IORING_OP_READV) != 0 &&
                   ::io_uring_opcode_supported(probe, IORING_OP_WRITEV) != 0 &&
                   ::io_uring_opcode_supported(probe, IORING_OP_ASYNC_CANCEL) != 0;
  ::io_uring_free_probe(probe);
  return all;
}

// Kernels lack it, containers refuse it, an administrator switches it off: only a read that
// arrives, and is announced through an eventfd, is proof.
bool reads_through_a_ring() {
  probe_ring probe;
  if (!probe.ready || !operations_supported(probe.uring)) return false;
  unique_fd const event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event || ::io_uring_register_eventfd(&probe.uring, event.get()) != 0) return false;

  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) return false;
  unique_fd const out(ends[0]);
  unique_fd const in(ends[1]);
  constexpr std::string_view sent = "diskdump";
  if (::write(in.get(), sent.data(), sent.size()) != static_cast<ssize_t>(sent.size())) {
    return false;
  }
  char received[sent.size()] = {};
  iovec part{.iov_base = received, .iov_len = sizeof received};
  auto* const sqe = ::io_uring_get_sqe(&probe.uring);
  if (sqe == nullptr) return false;
  ::io_uring_prep_readv(sqe, out.get(), &part, 1, 0);
  if (::io_uring_submit(&probe.uring) != 1) return false;
  io_uring_cqe* cqe = nullptr;
  if (::io_uring_wait_cqe(&probe.uring, &cqe) != 0) return false;
  int const result = cqe->res;
  ::io_uring_cqe_seen(&probe.uring, cqe);
  std::uint64_t announced = 0;
  return result == static_cast<int>(sent.size()) &&
         std::memcmp(received, sent.data(), sent.size()) == 0 &&
         ::read(event.get(), &announced, sizeof announced) == sizeof announced;
}

}  // namespace

bool uring_available() noexcept {
  static bool const available = [] {
    char const* const refused = std::getenv("DISKDUMP_NO_URING");
    if (refused != nullptr && std::string_view(refused) == "1") return false;
    return reads_through_a_ring();
  }();
  return available;
}

}  // namespace diskdump
