#include "store_conformance.hpp"

namespace diskdump {

TEST_SUITE("memory_store") {
  TEST_CASE("the memory store does what every store does") {
    check_store_conformance([] { return make_memory_store(4096); });
  }

  TEST_CASE("the memory store says that it is neither durable nor shared") {
    auto const store = make_memory_store(65536);
    CHECK(store->properties().format == "memory");
    CHECK(store->properties().block_bytes == 65536);
    CHECK_FALSE(store->properties().durable);
    CHECK_FALSE(store->properties().shared);
  }
}

}  // namespace diskdump
