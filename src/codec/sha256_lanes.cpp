#include "codec/sha256_lanes.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#include "base/assert.hpp"

namespace diskdump {

#if defined(__x86_64__)

// AVX for its instructions with three operands, without which four lanes are copied about.
#define DISKDUMP_SHA256_LANES __attribute__((target("sha,avx")))

namespace {

constexpr std::size_t chunk_bytes = 64;  // what one round of the compression function takes
constexpr std::size_t length_bytes = 8;  // the number of bits that ends a message
constexpr std::size_t tail_chunks_max = 2;

// FIPS 180-4, 4.2.2.
alignas(16) constexpr std::array<std::uint32_t, 64> round_constants = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

// FIPS 180-4, 5.3.3, as the instructions keep it: the words A, B, E, F and C, D, G, H, the first of
// each in the highest place.
struct lane_state {
  __m128i abef;
  __m128i cdgh;
};

DISKDUMP_SHA256_LANES lane_state first_state() noexcept {
  return {_mm_set_epi32(0x6a09e667, static_cast<int>(0xbb67ae85), 0x510e527f,
                        static_cast<int>(0x9b05688c)),
          _mm_set_epi32(0x3c6ef372, static_cast<int>(0xa54ff53a), 0x1f83d9ab, 0x5be0cd19)};
}

// Takes `chunks` chunks of each lane into its state. All loops but the outermost are unrolled,
// which lets the message words of all lanes live in registers.
template <std::size_t Lanes>
DISKDUMP_SHA256_LANES void take_chunks(std::array<std::byte const*, Lanes> const& from,
                                       std::size_t chunks, lane_state* states) noexcept {
  auto const big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  std::array<__m128i, Lanes> abef;
  std::array<__m128i, Lanes> cdgh;
  for (std::size_t i = 0; i < Lanes; ++i) {
    abef[i] = states[i].abef;
    cdgh[i] = states[i].cdgh;
  }
  for (std::size_t at = 0; at < chunks * chunk_bytes; at += chunk_bytes) {
    auto const abef_before = abef;
    auto const cdgh_before = cdgh;
    std::array<std::array<__m128i, 4>, Lanes> words;
#pragma GCC unroll 16
    for (std::size_t round = 0; round < 16; ++round) {  // four of FIPS 180-4's rounds each
#pragma GCC unroll 4
      for (std::size_t i = 0; i < Lanes; ++i) {
        auto& w = words[i];
        auto& now = w[round % 4];
        if (round < 4) {
          auto const* const bytes = from[i] + at + 16 * round;
          now = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<__m128i const*>(bytes)),
                                 big_endian);
        } else {
          auto const& last = w[(round + 3) % 4];
          auto const seven_back = _mm_alignr_epi8(last, w[(round + 2) % 4], 4);
          now = _mm_sha256msg2_epu32(
              _mm_add_epi32(_mm_sha256msg1_epu32(now, w[(round + 1) % 4]), seven_back), last);
        }
        auto const* const constants = round_constants.data() + 4 * round;
        auto const sum =
            _mm_add_epi32(now, _mm_load_si128(reinterpret_cast<__m128i const*>(constants)));
        cdgh[i] = _mm_sha256rnds2_epu32(cdgh[i], abef[i], sum);
        abef[i] = _mm_sha256rnds2_epu32(abef[i], cdgh[i], _mm_shuffle_epi32(sum, 0x0e));
      }
    }
#pragma GCC unroll 4
    for (std::size_t i = 0; i < Lanes; ++i) {
      abef[i] = _mm_add_epi32(abef[i], abef_before[i]);
      cdgh[i] = _mm_add_epi32(cdgh[i], cdgh_before[i]);
    }
  }
  for (std::size_t i = 0; i < Lanes; ++i) states[i] = {abef[i], cdgh[i]};
}

// What follows the whole chunks: the rest of the content, a 1 bit, zeros, and the length in bits.
struct lane_tail {
  std::array<std::byte, tail_chunks_max * chunk_bytes> bytes{};
  std::size_t chunks = 1;
};

lane_tail tail_of(byte_view content) noexcept {
  lane_tail tail;
  auto const rest = content.size() % chunk_bytes;
  if (rest > 0) std::memcpy(tail.bytes.data(), content.data() + content.size() - rest, rest);
  tail.bytes[rest] = std::byte{0x80};
  if (rest + 1 + length_bytes > chunk_bytes) tail.chunks = 2;
  auto const bits = __builtin_bswap64(std::uint64_t{content.size()} * 8);
  std::memcpy(tail.bytes.data() + tail.chunks * chunk_bytes - length_bytes, &bits, length_bytes);
  return tail;
}

DISKDUMP_SHA256_LANES block_id id_of(lane_state const& state) noexcept {
  alignas(16) std::array<std::uint32_t, 4> abef;  // F, E, B, A
  alignas(16) std::array<std::uint32_t, 4> cdgh;  // H, G, D, C
  _mm_store_si128(reinterpret_cast<__m128i*>(abef.data()), state.abef);
  _mm_store_si128(reinterpret_cast<__m128i*>(cdgh.data()), state.cdgh);
  std::array<std::uint32_t, 8> words = {abef[3], abef[2], cdgh[3], cdgh[2],
                                        abef[1], abef[0], cdgh[1], cdgh[0]};
  for (auto& word : words) word = __builtin_bswap32(word);
  block_id id;
  static_assert(sizeof(words) == block_id::size_bytes);
  std::memcpy(id.bytes.data(), words.data(), sizeof(words));
  return id;
}

template <std::size_t Lanes>
DISKDUMP_SHA256_LANES void digest_lanes(std::span<byte_view const> contents,
                                        std::span<block_id> ids) noexcept {
  std::array<lane_state, Lanes> states;
  states.fill(first_state());
  std::array<std::byte const*, Lanes> from;
  auto common_chunks = contents[0].size() / chunk_bytes;
  for (std::size_t i = 0; i < Lanes; ++i) {
    from[i] = contents[i].data();
    common_chunks = std::min(common_chunks, contents[i].size() / chunk_bytes);
  }
  take_chunks<Lanes>(from, common_chunks, states.data());
  // What some have beyond it, one lane at a time.
  std::array<lane_tail, Lanes> tails;
  bool as_long = true;
  for (std::size_t i = 0; i < Lanes; ++i) {
    auto const more = contents[i].size() / chunk_bytes - common_chunks;
    if (more > 0) take_chunks<1>({from[i] + common_chunks * chunk_bytes}, more, &states[i]);
    tails[i] = tail_of(contents[i]);
    from[i] = tails[i].bytes.data();
    as_long = as_long && tails[i].chunks == tails[0].chunks;
  }
  if (as_long) {
    take_chunks<Lanes>(from, tails[0].chunks, states.data());
  } else {
    for (std::size_t i = 0; i < Lanes; ++i) {
      take_chunks<1>({from[i]}, tails[i].chunks, &states[i]);
    }
  }
  for (std::size_t i = 0; i < Lanes; ++i) ids[i] = id_of(states[i]);
}

}  // namespace

bool has_sha256_lanes() noexcept {
  static bool const has = [] {
    constexpr unsigned sha_of_leaf_7 = 1U << 29;
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __builtin_cpu_supports("avx") && __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 &&
           (b & sha_of_leaf_7) != 0;
  }();
  return has;
}

void sha256_side_by_side(std::span<byte_view const> contents, std::span<block_id> ids) noexcept {
  DISKDUMP_ASSERT(has_sha256_lanes() && contents.size() == ids.size());
  switch (contents.size()) {
    case 1:
      return digest_lanes<1>(contents, ids);
    case 2:
      return digest_lanes<2>(contents, ids);
    case 3:
      return digest_lanes<3>(contents, ids);
    case sha256_lanes_max:
      return digest_lanes<sha256_lanes_max>(contents, ids);
    default:
      DISKDUMP_ASSERT(false);
  }
}

#else

bool has_sha256_lanes() noexcept { return false; }

void sha256_side_by_side(std::span<byte_view const>, std::span<block_id>) noexcept {
  DISKDUMP_ASSERT(false);
}

#endif

}  // namespace diskdump
