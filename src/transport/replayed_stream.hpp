// A stream of which some bytes were read already: they are given again first. Owns the stream.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "transport/stream.hpp"

namespace diskdump {

class replayed_stream final : public stream {
 public:
  replayed_stream(std::unique_ptr<stream> inner, byte_vector first)
      : inner_(std::move(inner)), first_(std::move(first)) {}

  [[nodiscard]] task<std::size_t> read(byte_span to) override {
    if (used_ == first_.size()) co_return co_await inner_->read(to);
    auto const n = std::min(to.size(), first_.size() - used_);
    std::memcpy(to.data(), first_.data() + used_, n);
    used_ += n;
    if (used_ == first_.size()) {
      free_memory(first_);
      used_ = 0;
    }
    co_return n;
  }
  [[nodiscard]] task<> write(byte_view bytes) override { return inner_->write(bytes); }
  [[nodiscard]] task<> write_eof() override { return inner_->write_eof(); }
  [[nodiscard]] task<exit_report> close() override { return inner_->close(); }
  [[nodiscard]] std::string stderr_tail() const override { return inner_->stderr_tail(); }
  [[nodiscard]] std::uint64_t wire_bytes() const noexcept override { return inner_->wire_bytes(); }

 private:
  std::unique_ptr<stream> inner_;
  byte_vector first_;
  std::size_t used_ = 0;
};

}  // namespace diskdump
