#include "codec/block_id.hpp"

#include <doctest/doctest.h>

#include <string>

#include "codec/digest.hpp"

namespace diskdump {

TEST_SUITE("block_id") {
  TEST_CASE("hex and back is the same id") {
    auto const id = sha256(as_bytes("abc"));
    CHECK(block_id::from_hex(id.hex()) == id);
  }

  TEST_CASE("only 64 lower-case hex digits are an id") {
    auto const good = sha256(as_bytes("abc")).hex();
    CHECK_FALSE(block_id::from_hex(""));
    CHECK_FALSE(block_id::from_hex(good.substr(1)));
    CHECK_FALSE(block_id::from_hex(good + "0"));
    for (char const c : {'A', 'F', 'g', '/', ':', ' ', '\0', '\xff'}) {
      auto bad = good;
      bad[63] = c;
      CHECK_FALSE(block_id::from_hex(bad));
      bad = good;
      bad[0] = c;
      CHECK_FALSE(block_id::from_hex(bad));
    }
  }
}

}  // namespace diskdump
