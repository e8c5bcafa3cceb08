// A disk that fails on demand, around another one: the seam for tests of bad sectors, full file
// systems, sources that shrink, slow requests and power cuts. Single-threaded, like every disk; it
// owns the one inside and outlives its operations.
#pragma once

#include <cerrno>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "async/wait_list.hpp"
#include "io/disk.hpp"

namespace diskdump {

class fault_disk final : public disk {
 public:
  explicit fault_disk(asio::any_io_executor executor, std::unique_ptr<disk> inner);
  ~fault_disk() override;  // Invariant: nothing held.

  // Reads that touch the range fail with this errno, at the first bad byte.
  void fail_reads(std::uint64_t offset_bytes, std::uint64_t length_bytes, int errno_value = EIO);
  // The same for writes.
  void fail_writes(std::uint64_t offset_bytes, std::uint64_t length_bytes, int errno_value = EIO);
  // Writes fail once so many more bytes were written: a file system that fills up.
  void fail_writes_after(std::uint64_t bytes, int errno_value = ENOSPC);
  void fail_syncs(int errno_value);
  void heal();  // takes back all of the above

  // Reads end here from now on, while properties() still says the old size: the source was cut.
  void shrink(std::uint64_t size_bytes);

  // From now on requests wait, in order of arrival, until they are released: the test decides the
  // order in which they complete. A request that is cancelled while it waits leaves the queue.
  void hold(bool on = true);
  [[nodiscard]] std::size_t held() const noexcept { return held_.size(); }
  // REQUIRES: position < held().
  void release(std::size_t position = 0);
  void release_all();

  // Undoes every write and zeroing since the last sync(): what a power cut may do.
  // REQUIRES: nothing in flight; the inner disk can be written.
  [[nodiscard]] task<> power_cut();

  [[nodiscard]] std::uint64_t reads() const noexcept { return reads_; }
  [[nodiscard]] std::uint64_t bytes_written() const noexcept { return bytes_written_; }
  [[nodiscard]] disk& inner() noexcept { return *inner_; }

  [[nodiscard]] disk_properties const& properties() const noexcept override {
    return inner_->properties();
  }
  [[nodiscard]] task<std::size_t> read(std::uint64_t offset_bytes,
                                       std::span<byte_span const> buffers) override;
  [[nodiscard]] task<> write(std::uint64_t offset_bytes, byte_view bytes) override;
  [[nodiscard]] task<bool> write_zeros(std::uint64_t offset_bytes,
                                       std::uint64_t length_bytes) override;
  [[nodiscard]] data_range next_data(std::uint64_t offset_bytes) override;
  [[nodiscard]] task<> sync() override;

 private:
  struct bad_range {
    std::uint64_t first = 0;
    std::uint64_t end = 0;
    int errno_value = 0;
  };
  struct held_request {
    explicit held_request(asio::any_io_executor const& executor) : released(executor) {}
    wait_list released;
    bool go = false;
  };
  struct old_content {
    std::uint64_t offset_bytes = 0;
    byte_vector bytes;
  };

  [[nodiscard]] task<> gate();
  static void throw_if_bad(std::vector<bad_range> const& ranges, std::uint64_t offset_bytes,
                           std::uint64_t length_bytes, bool writing);
  [[nodiscard]] task<> remember(std::uint64_t offset_bytes, std::uint64_t length_bytes);

  asio::any_io_executor executor_;
  std::unique_ptr<disk> inner_;
  std::vector<bad_range> bad_reads_;
  std::vector<bad_range> bad_writes_;
  std::optional<std::uint64_t> writable_bytes_;
  int full_errno_ = 0;
  int sync_errno_ = 0;
  std::optional<std::uint64_t> end_bytes_;
  bool holding_ = false;
  std::deque<held_request*> held_;
  std::vector<old_content> undo_;  // oldest first
  std::uint64_t reads_ = 0;
  std::uint64_t bytes_written_ = 0;
};

}  // namespace diskdump
