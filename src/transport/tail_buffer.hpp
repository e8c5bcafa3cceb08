// The last bytes of something that may be endless: a program's stderr.
#pragma once

#include <string>

#include "base/bytes.hpp"
#include "base/limits.hpp"

namespace diskdump {

class tail_buffer {
 public:
  void append(byte_view bytes) {
    text_.append(as_text(bytes));
    // Cut at twice the bound, so that each byte is moved once on average.
    if (text_.size() > 2 * limits::stderr_tail_bytes_max) {
      text_.erase(0, text_.size() - limits::stderr_tail_bytes_max);
    }
  }
  [[nodiscard]] std::string text() const {
    return text_.size() <= limits::stderr_tail_bytes_max
               ? text_
               : text_.substr(text_.size() - limits::stderr_tail_bytes_max);
  }

 private:
  std::string text_;  // Invariant: size() <= 2 * stderr_tail_bytes_max.
};

}  // namespace diskdump
