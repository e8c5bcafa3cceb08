// Diagnostics for a person. A `log_sink` is handed down from main; there is no global logger, so
// that a test sees what it caused. Thread-safe where the implementation says so; the ones here are.
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <string_view>

namespace diskdump {

enum class log_level : unsigned char { debug, info, warning, error };

class log_sink {
 public:
  virtual ~log_sink() = default;
  virtual void write(log_level level, std::string_view line) = 0;

  void debug(std::string_view line) { write(log_level::debug, line); }
  void info(std::string_view line) { write(log_level::info, line); }
  void warning(std::string_view line) { write(log_level::warning, line); }
};

// Drops everything.
class null_log final : public log_sink {
 public:
  void write(log_level, std::string_view) override {}
};

// Hands each line at or above `threshold` to `emit`, one at a time.
class callback_log final : public log_sink {
 public:
  callback_log(log_level threshold, std::function<void(log_level, std::string_view)> emit)
      : threshold_(threshold), emit_(std::move(emit)) {}
  void write(log_level level, std::string_view line) override {
    if (level < threshold_) return;
    std::lock_guard const lock(mutex_);
    emit_(level, line);
  }

 private:
  log_level threshold_;
  std::mutex mutex_;
  std::function<void(log_level, std::string_view)> emit_;
};

// Text from the other end with control characters made visible, so that a target cannot write
// escape sequences to the operator's terminal. Cut to `bytes_max`.
[[nodiscard]] std::string printable(std::string_view text, std::size_t bytes_max = 2048);

}  // namespace diskdump
