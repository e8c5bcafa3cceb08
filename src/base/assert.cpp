#include "base/assert.hpp"

#include <cstdio>
#include <cstdlib>

namespace diskdump {

void assertion_failed(char const* expression, char const* file, int line) noexcept {
  std::fprintf(stderr, "diskdump: internal error: %s (%s:%d)\n", expression, file, line);
  std::abort();
}

}  // namespace diskdump
