#include "base/bytes.hpp"

#include <doctest/doctest.h>

namespace diskdump {

TEST_SUITE("bytes") {
  TEST_CASE("memory that is freed is not kept for later") {
    byte_vector bytes(1000);
    free_memory(bytes);
    CHECK(bytes.capacity() == 0);
  }
}

}  // namespace diskdump
