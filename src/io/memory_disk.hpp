// A disk in memory, for tests of what stands above. Pages of 4 KiB that hold only zeros count as
// holes. Single-threaded, like every disk.
#pragma once

#include "base/bytes.hpp"
#include "io/disk.hpp"

namespace diskdump {

class memory_disk final : public disk {
 public:
  // `shape` may ask for an alignment or pretend to be a device; size and engine are set here.
  explicit memory_disk(byte_vector content, disk_properties shape = {});

  [[nodiscard]] byte_vector& content() noexcept { return content_; }

  [[nodiscard]] disk_properties const& properties() const noexcept override { return properties_; }
  [[nodiscard]] task<std::size_t> read(std::uint64_t offset_bytes,
                                       std::span<byte_span const> buffers) override;
  [[nodiscard]] task<> write(std::uint64_t offset_bytes, byte_view bytes) override;
  [[nodiscard]] task<bool> write_zeros(std::uint64_t offset_bytes,
                                       std::uint64_t length_bytes) override;
  [[nodiscard]] data_range next_data(std::uint64_t offset_bytes) override;
  [[nodiscard]] task<> sync() override;

 private:
  void check_range(std::uint64_t offset_bytes, std::uint64_t length_bytes) const;

  byte_vector content_;
  disk_properties properties_;
};

}  // namespace diskdump
