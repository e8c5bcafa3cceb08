#include "codec/digest.hpp"

#include <doctest/doctest.h>

#include <string>

namespace diskdump {

TEST_SUITE("digest") {
  // The vectors of FIPS 180-4's examples.
  TEST_CASE("SHA-256 gives the published values") {
    CHECK(sha256({}).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(sha256(as_bytes("abc")).hex() ==
          "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(sha256(as_bytes("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")).hex() ==
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    CHECK(sha256(as_bytes(std::string(1000000, 'a'))).hex() ==
          "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  }

  TEST_CASE("a stream gives the digest of its pieces, and may go on after a value was taken") {
    sha256_stream stream;
    CHECK(stream.value() == sha256({}));
    stream.update(as_bytes("ab"));
    CHECK(stream.value() == sha256(as_bytes("ab")));
    stream.update({});
    stream.update(as_bytes("c"));
    CHECK(stream.value() == sha256(as_bytes("abc")));
  }

  TEST_CASE("only zeros are zero, whatever the length and wherever the other byte stands") {
    for (std::size_t const length : {0, 1, 2, 63, 64, 65, 127, 128, 129, 4096}) {
      CAPTURE(length);
      byte_vector bytes(length);
      CHECK(is_zero(bytes));
      for (std::size_t at = 0; at < length; ++at) {
        bytes[at] = std::byte{0x80};
        CHECK_FALSE(is_zero(bytes));
        bytes[at] = std::byte{0};
      }
    }
  }

  TEST_CASE("bytes that repeat with a period of 64 are not zero") {
    byte_vector bytes(256);
    for (std::size_t at = 63; at < bytes.size(); at += 64) bytes[at] = std::byte{1};
    CHECK_FALSE(is_zero(bytes));
  }

  TEST_CASE("the id of zeros is the digest of so many zero bytes") {
    for (std::uint32_t const length : {0U, 1U, 4096U, 65535U, 65536U, 65537U, 131072U}) {
      CAPTURE(length);
      CHECK(zero_block_id(length) == sha256(byte_vector(length)));
    }
    CHECK(zero_block_id(131072).hex() ==
          "fa43239bcee7b97ca62f007cc68487560a39e19f74f3dde7486db3f98df8e471");
  }
}

}  // namespace diskdump
