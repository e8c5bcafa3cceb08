// Whether the other end of an idle connection is still there: when to ask, and when to give up. A
// pure machine; the session looks at it once per interval.
#pragma once

#include <cstdint>

#include "base/limits.hpp"

namespace diskdump {

class alive_watch {
 public:
  enum class action : std::uint8_t { wait, ask, give_up };

  // `arrivals` counts what has come so far, of whatever kind; `listening` is whether what comes
  // would be taken at all: a reader that has no room for more cannot tell silence from its own.
  [[nodiscard]] action tick(std::uint64_t arrivals, bool listening) noexcept {
    if (!listening || arrivals != arrivals_) {
      arrivals_ = arrivals;
      unanswered_ = 0;
      return action::wait;
    }
    if (unanswered_ == limits::alive_probes_max) return action::give_up;
    ++unanswered_;
    return action::ask;
  }

 private:
  std::uint64_t arrivals_ = 0;
  int unanswered_ = 0;  // Invariant: at most limits::alive_probes_max.
};

}  // namespace diskdump
