#include "codec/digest.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

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

  TEST_CASE("digests side by side are those of one after the other, for all lengths and numbers") {
    byte_vector bytes(5 * 1000);
    std::mt19937_64 random(1);
    for (auto& byte : bytes) byte = static_cast<std::byte>(random());
    auto const part = [&](std::size_t lane, std::size_t length) {
      return byte_view(bytes).subspan(lane * 1000 + length % 7, length);
    };
    for (std::size_t count = 0; count <= 11; ++count) {
      // All as long, in each length around the ends of two chunks; then all of different lengths.
      for (std::size_t length = 0; length <= 260; ++length) {
        std::vector<byte_view> alike;
        std::vector<byte_view> different;
        for (std::size_t i = 0; i < count; ++i) {
          alike.push_back(part(i % 5, length));
          different.push_back(part(i % 5, random() % 900));
        }
        for (auto const& contents : {alike, different}) {
          std::vector<block_id> ids(count);
          sha256_each(contents, ids);
          for (std::size_t i = 0; i < count; ++i) {
            if (ids[i] != sha256(contents[i])) FAIL(count << " of " << length << ", the " << i);
          }
        }
      }
    }
  }

  TEST_CASE("each of several long contents has its own digest") {
    std::vector<byte_vector> blocks;
    std::vector<byte_view> views;
    for (std::size_t i = 0; i < 9; ++i) {
      blocks.emplace_back(131072 - (i == 5 ? 100 : 0), static_cast<std::byte>(i));
    }
    for (auto const& block : blocks) views.emplace_back(block);
    std::vector<block_id> ids(views.size());
    sha256_each(views, ids);
    for (std::size_t i = 0; i < views.size(); ++i) CHECK(ids[i] == sha256(views[i]));
    CHECK(ids[0] == zero_block_id(131072));
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
