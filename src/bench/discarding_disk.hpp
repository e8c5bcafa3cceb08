// A disk that takes every write and keeps nothing: where a measured restore goes, so that only the
// store is measured. Used on the event loop's thread, like every disk.
#pragma once

#include "io/disk.hpp"

namespace diskdump {

class discarding_disk final : public disk {
 public:
  explicit discarding_disk(std::uint64_t size_bytes) { properties_.size_bytes = size_bytes; }

  [[nodiscard]] std::uint64_t written_bytes() const noexcept { return written_bytes_; }

  [[nodiscard]] disk_properties const& properties() const noexcept override { return properties_; }
  // There is nothing to read.
  [[nodiscard]] task<std::size_t> read(std::uint64_t, std::span<byte_span const>) override {
    co_return 0;
  }
  [[nodiscard]] task<> write(std::uint64_t, byte_view bytes) override {
    written_bytes_ += bytes.size();
    co_return;
  }
  [[nodiscard]] task<bool> write_zeros(std::uint64_t, std::uint64_t) override { co_return true; }
  [[nodiscard]] data_range next_data(std::uint64_t) override { return {}; }
  [[nodiscard]] task<> sync() override { co_return; }

 private:
  disk_properties properties_;
  std::uint64_t written_bytes_ = 0;
};

}  // namespace diskdump
