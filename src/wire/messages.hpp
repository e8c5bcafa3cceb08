// The messages of agent and server as values, their layout (PROTOCOL.md has it as a table) and
// their bounds. `encode` appends one whole frame (texts above their bound are cut); `decode_*`
// takes a frame's payload, believes nothing, and throws wire_errc::malformed (severity corruption)
// where it does not parse exactly. Pure functions; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/units.hpp"
#include "codec/block_id.hpp"
#include "codec/compress.hpp"

namespace diskdump {

inline constexpr std::uint16_t protocol_version = 1;

// Kind numbers are never reused. 1–63 go from agent to server, 64–127 from server to agent.
enum class message_kind : std::uint8_t {
  hello = 1,
  source = 2,
  digests = 3,
  block = 4,
  note = 5,
  end = 6,
  abort = 7,  // either way
  bad_range = 8,
  start = 64,
  answer = 65,
  settle = 66,
  codec = 67,
  done = 68,
  limit = 69,
  expect = 70,
};

// Sixteen random bytes that the server puts on the agent's command line, as hex, and finds again as
// raw bytes in HELLO: all before them is login noise.
using session_nonce = std::array<std::byte, 16>;

enum class read_engine : std::uint8_t { uring = 0, posix = 1, python = 2 };
enum class machine_architecture : std::uint16_t { unknown = 0, x86_64 = 1, aarch64 = 2 };
enum class source_type : std::uint8_t { regular_file = 1, block_device = 2 };

struct hello_message {
  session_nonce nonce{};
  std::uint16_t version = protocol_version;
  machine_architecture architecture = machine_architecture::unknown;
  read_engine engine = read_engine::posix;
  block_id self_digest{};  // SHA-256 of the agent's own file
  std::string build{};     // for a person; at most limits::build_bytes_max
};

// What the source is at START; `image_bytes` rules for the whole dump.
struct source_message {
  std::uint64_t image_bytes = 0;
  source_type type = source_type::regular_file;
  bool direct_io = false;
  bool without_ring =
      false;  // no ring could be made for it, whatever HELLO said: it is read by pread
  std::uint32_t alignment_bytes = 1;
  std::string identity{};  // "key=value" words: serial, UUID; at most limits::identity_bytes_max
};

// A run in DIGESTS: one data block with its id, `blocks` zero blocks, read (zeros) or not (hole),
// or `blocks` data blocks with the ids that EXPECT told for them (expected).
enum class run_kind : std::uint8_t { data = 0, zeros = 1, hole = 2, expected = 3 };
struct digest_run {
  run_kind kind = run_kind::data;
  // Data, and what a session gives or is given as expected; not on the wire for the latter.
  block_id id{};
  block_count blocks{1};  // 1 for data
};
struct digests_message {
  block_index first{};
  // At most limits::digest_runs_max, of digests_blocks_max; an expected run counts once for each
  // of its blocks.
  std::vector<digest_run> runs{};
};

// The payload follows these fields in the frame and is not part of the struct.
struct block_header {
  block_index index{};
  block_codec codec = block_codec::raw;
  std::uint32_t raw_bytes = 0;
};

struct note_message {
  std::uint8_t level = 1;  // 0 debug, 1 info, 2 warning
  std::string text{};      // at most limits::note_bytes_max
};

// Bytes that could not be read and stand as zeros in the image (skip_bad_sectors).
struct bad_range_message {
  std::uint64_t offset_bytes = 0;
  std::uint64_t length_bytes = 0;
};

struct end_message {
  block_count blocks{};       // all blocks of the image
  block_count data_blocks{};  // announced with an id, from first_block on
  block_count zero_blocks{};  // zeros and holes, from first_block on
  block_count sent_blocks{};  // BLOCK frames
  std::uint64_t read_bytes = 0;
  block_id ids_digest{};  // SHA-256 over the ids from first_block on, in order, 32 bytes each
};

enum class abort_code : std::uint16_t {
  internal = 1,
  cannot_open = 2,    // absent, no permission, not a file or block device
  read_failed = 3,    // bad sectors
  source_shrank = 4,  // a short read before the size that SOURCE told
  protocol = 5,
  cancelled = 6,
};
struct abort_message {
  abort_code code = abort_code::internal;
  std::uint32_t errno_value = 0;                   // 0 where none
  std::uint64_t offset_bytes = ~std::uint64_t{0};  // all ones where none
  std::string text{};                              // at most limits::note_bytes_max
};

enum class codec_policy : std::uint8_t { none = 0, lz4 = 1, zlib = 2 };

struct start_message {
  // Bytes as the target's system takes them; 1 to limits::path_bytes_max, no NUL.
  std::string path{};
  std::uint32_t block_bytes = 0;
  std::uint32_t batch_blocks = 0;
  codec_policy codec = codec_policy::lz4;
  block_index first_block{};
  std::uint64_t read_limit_bytes_per_s = 0;  // 0: none
  std::uint16_t threads_max = 0;             // 0: all cores
  bool skip_bad_sectors = false;
  bool low_priority = false;  // idle I/O class and CPU nice
};

// Throws wire_errc::malformed (permanent) where a field is outside its bounds: the batch is above
// limits::batch_bytes_max, the block size is not a multiple of limits::block_bytes_multiple, ….
// decode_start() has called it; a server calls it for what a person asked for.
void check(start_message const& m);

enum class verdict : std::uint8_t { have = 0, need = 1, wait = 2 };

// For the next verdicts.size() data blocks in the order of their announcement, of which the first
// is `first`.
struct answer_message {
  block_index first{};
  std::vector<verdict> verdicts{};  // at most limits::answers_max
};
// A block that was told to wait became `have` or `need`.
struct settle_message {
  block_index index{};
  verdict outcome = verdict::have;
};

// What the server holds and expects the blocks from `first` on to be; no_block: nothing.
struct expect_message {
  block_index first{};
  std::vector<block_id> ids{};  // 1 to limits::expected_ids_max
};
// Stands for no digest: SHA-256 has no known preimage of it.
inline constexpr block_id no_block{};

// The agent's read limit from now on, in the place of START's.
struct limit_message {
  std::uint64_t read_limit_bytes_per_s = 0;  // 0: none
};

void encode(byte_vector& to, hello_message const& m);
void encode(byte_vector& to, source_message const& m);
void encode(byte_vector& to, digests_message const& m);
void encode(byte_vector& to, note_message const& m);
void encode(byte_vector& to, bad_range_message const& m);
void encode(byte_vector& to, end_message const& m);
void encode(byte_vector& to, abort_message const& m);
void encode(byte_vector& to, start_message const& m);
void encode(byte_vector& to, answer_message const& m);
void encode(byte_vector& to, settle_message const& m);
void encode(byte_vector& to, limit_message const& m);
void encode(byte_vector& to, expect_message const& m);
void encode_codec(byte_vector& to, codec_policy policy);
void encode_done(byte_vector& to);
// The frame header and block header of a BLOCK whose payload of `payload_bytes` is sent after it.
void encode_block_header(byte_vector& to, block_header const& m, std::size_t payload_bytes);

[[nodiscard]] hello_message decode_hello(byte_view payload);
[[nodiscard]] source_message decode_source(byte_view payload);
[[nodiscard]] digests_message decode_digests(byte_view payload);
[[nodiscard]] block_header decode_block_header(
    byte_view first_bytes);  // limits::block_header_bytes
[[nodiscard]] note_message decode_note(byte_view payload);
[[nodiscard]] bad_range_message decode_bad_range(byte_view payload);
[[nodiscard]] end_message decode_end(byte_view payload);
[[nodiscard]] abort_message decode_abort(byte_view payload);
[[nodiscard]] start_message decode_start(byte_view payload);
[[nodiscard]] answer_message decode_answer(byte_view payload);
[[nodiscard]] settle_message decode_settle(byte_view payload);
[[nodiscard]] limit_message decode_limit(byte_view payload);
[[nodiscard]] expect_message decode_expect(byte_view payload);
[[nodiscard]] codec_policy decode_codec(byte_view payload);
void decode_done(byte_view payload);

[[nodiscard]] std::string nonce_hex(session_nonce const& nonce);
[[nodiscard]] std::optional<session_nonce> nonce_from_hex(std::string_view text) noexcept;
[[nodiscard]] std::string_view to_string(read_engine e) noexcept;
[[nodiscard]] std::string_view to_string(message_kind k) noexcept;
[[nodiscard]] std::string_view to_string(abort_code c) noexcept;

}  // namespace diskdump
