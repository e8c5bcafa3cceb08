#include "wire/messages.hpp"

#include <bit>

#include "base/assert.hpp"
#include "base/limits.hpp"
#include "wire/payload.hpp"

namespace diskdump {

namespace {

constexpr std::uint8_t source_direct_io = 1;
constexpr std::uint8_t source_without_ring = 2;
constexpr std::uint8_t start_skip_bad_sectors = 1;
constexpr std::uint8_t start_low_priority = 2;

[[noreturn]] void refuse_start(std::string_view cause) {
  throw error(wire_errc::malformed, severity::permanent).cause(format("start: {}", cause));
}

}  // namespace

// ---- Agent to server ----------------------------------------------------------------------------

void encode(byte_vector& to, hello_message const& m) {
  frame_writer out(to, message_kind::hello);
  out.bytes(m.nonce);
  out.integer(m.version);
  out.enumerator(m.architecture);
  out.enumerator(m.engine);
  out.bytes(m.self_digest.bytes);
  out.text(m.build, limits::build_bytes_max);
}

hello_message decode_hello(byte_view payload) {
  payload_reader in(message_kind::hello, payload);
  hello_message m;
  auto const nonce = in.bytes(m.nonce.size());
  std::copy(nonce.begin(), nonce.end(), m.nonce.begin());
  m.version = in.integer<std::uint16_t>();
  // Only these two fields are the same in every version; the caller refuses the version.
  if (m.version != protocol_version) return m;
  m.architecture = in.enumerator(machine_architecture::unknown, machine_architecture::aarch64,
                                 "unknown architecture");
  m.engine = in.enumerator(read_engine::uring, read_engine::python, "unknown read engine");
  m.self_digest = in.id();
  m.build = in.text(limits::build_bytes_max, "build");
  in.finish();
  return m;
}

void encode(byte_vector& to, source_message const& m) {
  frame_writer out(to, message_kind::source);
  out.integer(m.image_bytes);
  out.enumerator(m.type);
  std::uint8_t flags = 0;
  if (m.direct_io) flags |= source_direct_io;
  if (m.without_ring) flags |= source_without_ring;
  out.integer(flags);
  out.integer(m.alignment_bytes);
  out.text(m.identity, limits::identity_bytes_max);
}

source_message decode_source(byte_view payload) {
  payload_reader in(message_kind::source, payload);
  source_message m;
  m.image_bytes = in.integer<std::uint64_t>();
  if (m.image_bytes > limits::image_bytes_max) {
    in.refuse(format("an image of {} bytes, more than {}", m.image_bytes, limits::image_bytes_max));
  }
  m.type = in.enumerator(source_type::regular_file, source_type::block_device, "unknown type");
  auto const flags = in.flags(source_direct_io | source_without_ring);
  m.direct_io = (flags & source_direct_io) != 0;
  m.without_ring = (flags & source_without_ring) != 0;
  m.alignment_bytes = in.integer<std::uint32_t>();
  if (!std::has_single_bit(m.alignment_bytes) || m.alignment_bytes > limits::block_bytes_max) {
    in.refuse(format("alignment {}", m.alignment_bytes));
  }
  m.identity = in.text(limits::identity_bytes_max, "identity");
  in.finish();
  return m;
}

void encode(byte_vector& to, digests_message const& m) {
  DISKDUMP_ASSERT(!m.runs.empty() && m.runs.size() <= limits::digest_runs_max);
  frame_writer out(to, message_kind::digests);
  out.integer(m.first.value);
  out.integer(static_cast<std::uint16_t>(m.runs.size()));
  std::uint64_t blocks = 0;
  std::uint64_t counted_runs = 0;
  for (auto const& run : m.runs) {
    DISKDUMP_ASSERT(run.blocks.value > 0);
    DISKDUMP_ASSERT(run.blocks.value <= limits::digests_blocks_max - blocks);
    blocks += run.blocks.value;
    counted_runs += run.kind == run_kind::expected ? run.blocks.value : 1;
    DISKDUMP_ASSERT(counted_runs <= limits::digest_runs_max);
    out.enumerator(run.kind);
    if (run.kind == run_kind::data) {
      DISKDUMP_ASSERT(run.blocks.value == 1);
      out.bytes(run.id.bytes);
    } else {
      out.integer(static_cast<std::uint32_t>(run.blocks.value));
    }
  }
}

digests_message decode_digests(byte_view payload) {
  payload_reader in(message_kind::digests, payload);
  digests_message m;
  m.first.value = in.integer<std::uint64_t>();
  auto const count = in.integer<std::uint16_t>();
  if (count == 0 || count > limits::digest_runs_max) in.refuse(format("{} runs", count));
  m.runs.reserve(count);
  std::uint64_t blocks = 0;
  std::uint64_t counted_runs = 0;
  for (unsigned i = 0; i < count; ++i) {
    auto& run = m.runs.emplace_back();
    run.kind = in.enumerator(run_kind::data, run_kind::expected, "unknown run kind");
    if (run.kind == run_kind::data) {
      run.id = in.id();
    } else {
      run.blocks.value = in.integer<std::uint32_t>();
      if (run.blocks.value == 0) in.refuse("a run of no blocks");
    }
    blocks += run.blocks.value;
    if (blocks > limits::digests_blocks_max) in.refuse(format("{} blocks", blocks));
    // Each of them becomes a run of its own, with its id.
    counted_runs += run.kind == run_kind::expected ? run.blocks.value : 1;
    if (counted_runs > limits::digest_runs_max) {
      in.refuse(format("{} runs and expected blocks", counted_runs));
    }
  }
  in.finish();
  return m;
}

void encode_block_header(byte_vector& to, block_header const& m, std::size_t payload_bytes) {
  DISKDUMP_ASSERT(payload_bytes > 0 && payload_bytes <= m.raw_bytes);
  DISKDUMP_ASSERT(m.raw_bytes <= limits::block_bytes_max);
  append_le(to, static_cast<std::uint32_t>(limits::block_header_bytes + payload_bytes));
  append_le(to, static_cast<std::uint8_t>(message_kind::block));
  append_le(to, m.index.value);
  append_le(to, static_cast<std::uint8_t>(m.codec));
  append_le(to, m.raw_bytes);
}

block_header decode_block_header(byte_view first_bytes) {
  payload_reader in(message_kind::block, first_bytes);
  block_header m;
  m.index.value = in.integer<std::uint64_t>();
  m.codec = in.enumerator(block_codec::raw, block_codec::zlib, "unknown codec");
  m.raw_bytes = in.integer<std::uint32_t>();
  in.finish();
  return m;
}

void encode(byte_vector& to, note_message const& m) {
  frame_writer out(to, message_kind::note);
  out.integer(m.level);
  out.text(m.text, limits::note_bytes_max);
}

note_message decode_note(byte_view payload) {
  payload_reader in(message_kind::note, payload);
  note_message m;
  m.level = in.integer<std::uint8_t>();
  if (m.level > 2) in.refuse(format("unknown level {}", m.level));
  m.text = in.text(limits::note_bytes_max, "text");
  in.finish();
  return m;
}

void encode(byte_vector& to, bad_range_message const& m) {
  frame_writer out(to, message_kind::bad_range);
  out.integer(m.offset_bytes);
  out.integer(m.length_bytes);
}

bad_range_message decode_bad_range(byte_view payload) {
  payload_reader in(message_kind::bad_range, payload);
  bad_range_message m;
  m.offset_bytes = in.integer<std::uint64_t>();
  m.length_bytes = in.integer<std::uint64_t>();
  if (m.length_bytes == 0) in.refuse("an empty range");
  in.finish();
  return m;
}

void encode(byte_vector& to, end_message const& m) {
  frame_writer out(to, message_kind::end);
  out.integer(m.blocks.value);
  out.integer(m.data_blocks.value);
  out.integer(m.zero_blocks.value);
  out.integer(m.sent_blocks.value);
  out.integer(m.read_bytes);
  out.bytes(m.ids_digest.bytes);
}

end_message decode_end(byte_view payload) {
  payload_reader in(message_kind::end, payload);
  end_message m;
  m.blocks.value = in.integer<std::uint64_t>();
  m.data_blocks.value = in.integer<std::uint64_t>();
  m.zero_blocks.value = in.integer<std::uint64_t>();
  m.sent_blocks.value = in.integer<std::uint64_t>();
  m.read_bytes = in.integer<std::uint64_t>();
  m.ids_digest = in.id();
  in.finish();
  return m;
}

// ---- Either way ---------------------------------------------------------------------------------

void encode(byte_vector& to, abort_message const& m) {
  frame_writer out(to, message_kind::abort);
  out.enumerator(m.code);
  out.integer(m.errno_value);
  out.integer(m.offset_bytes);
  out.text(m.text, limits::note_bytes_max);
}

abort_message decode_abort(byte_view payload) {
  payload_reader in(message_kind::abort, payload);
  abort_message m;
  m.code = in.enumerator(abort_code::internal, abort_code::cancelled, "unknown code");
  m.errno_value = in.integer<std::uint32_t>();
  m.offset_bytes = in.integer<std::uint64_t>();
  m.text = in.text(limits::note_bytes_max, "text");
  in.finish();
  return m;
}

// ---- Server to agent ----------------------------------------------------------------------------

void check(start_message const& m) {
  if (m.path.empty()) refuse_start("the path is empty");
  if (m.path.size() > limits::path_bytes_max) {
    refuse_start(
        format("the path has {} bytes, more than {}", m.path.size(), limits::path_bytes_max));
  }
  if (m.path.find('\0') != std::string::npos) refuse_start("the path has a zero byte");
  if (m.block_bytes < limits::block_bytes_min || m.block_bytes > limits::block_bytes_max ||
      m.block_bytes % limits::block_bytes_multiple != 0) {
    refuse_start(format("block size {} is not a multiple of {} between {} and {}", m.block_bytes,
                        limits::block_bytes_multiple, limits::block_bytes_min,
                        limits::block_bytes_max));
  }
  if (m.batch_blocks == 0 || m.batch_blocks > limits::batch_blocks_max) {
    refuse_start(
        format("a batch of {} blocks, not 1 to {}", m.batch_blocks, limits::batch_blocks_max));
  }
  auto const batch_bytes = std::uint64_t{m.batch_blocks} * m.block_bytes;
  if (batch_bytes > limits::batch_bytes_max) {
    refuse_start(format("a batch of {} bytes, more than {}", batch_bytes, limits::batch_bytes_max));
  }
  if (m.first_block.value > limits::image_bytes_max / m.block_bytes) {
    refuse_start(format("first block {}", m.first_block.value));
  }
}

void encode(byte_vector& to, start_message const& m) {
  check(m);
  frame_writer out(to, message_kind::start);
  out.integer(m.block_bytes);
  out.integer(m.batch_blocks);
  out.enumerator(m.codec);
  out.integer(m.first_block.value);
  out.integer(m.read_limit_bytes_per_s);
  out.integer(m.threads_max);
  out.integer(static_cast<std::uint8_t>((m.skip_bad_sectors ? start_skip_bad_sectors : 0) |
                                        (m.low_priority ? start_low_priority : 0)));
  out.text(m.path, limits::path_bytes_max);
}

start_message decode_start(byte_view payload) {
  payload_reader in(message_kind::start, payload);
  start_message m;
  m.block_bytes = in.integer<std::uint32_t>();
  m.batch_blocks = in.integer<std::uint32_t>();
  m.codec = in.enumerator(codec_policy::none, codec_policy::zlib, "unknown codec policy");
  m.first_block.value = in.integer<std::uint64_t>();
  m.read_limit_bytes_per_s = in.integer<std::uint64_t>();
  m.threads_max = in.integer<std::uint16_t>();
  auto const flags = in.flags(start_skip_bad_sectors | start_low_priority);
  m.skip_bad_sectors = (flags & start_skip_bad_sectors) != 0;
  m.low_priority = (flags & start_low_priority) != 0;
  m.path = in.text(limits::path_bytes_max, "path");
  in.finish();
  check(m);
  return m;
}

void encode(byte_vector& to, answer_message const& m) {
  DISKDUMP_ASSERT(!m.verdicts.empty() && m.verdicts.size() <= limits::answers_max);
  frame_writer out(to, message_kind::answer);
  out.integer(m.first.value);
  out.integer(static_cast<std::uint16_t>(m.verdicts.size()));
  for (auto const v : m.verdicts) out.enumerator(v);
}

answer_message decode_answer(byte_view payload) {
  payload_reader in(message_kind::answer, payload);
  answer_message m;
  m.first.value = in.integer<std::uint64_t>();
  auto const count = in.integer<std::uint16_t>();
  if (count == 0 || count > limits::answers_max) in.refuse(format("{} verdicts", count));
  m.verdicts.reserve(count);
  for (unsigned i = 0; i < count; ++i) {
    m.verdicts.push_back(in.enumerator(verdict::have, verdict::wait, "unknown verdict"));
  }
  in.finish();
  return m;
}

void encode(byte_vector& to, settle_message const& m) {
  DISKDUMP_ASSERT(m.outcome != verdict::wait);
  frame_writer out(to, message_kind::settle);
  out.integer(m.index.value);
  out.enumerator(m.outcome);
}

settle_message decode_settle(byte_view payload) {
  payload_reader in(message_kind::settle, payload);
  settle_message m;
  m.index.value = in.integer<std::uint64_t>();
  m.outcome = in.enumerator(verdict::have, verdict::need, "unknown outcome");
  in.finish();
  return m;
}

void encode(byte_vector& to, limit_message const& m) {
  frame_writer out(to, message_kind::limit);
  out.integer(m.read_limit_bytes_per_s);
}

limit_message decode_limit(byte_view payload) {
  payload_reader in(message_kind::limit, payload);
  limit_message m;
  m.read_limit_bytes_per_s = in.integer<std::uint64_t>();
  in.finish();
  return m;
}

void encode(byte_vector& to, expect_message const& m) {
  DISKDUMP_ASSERT(!m.ids.empty() && m.ids.size() <= limits::expected_ids_max);
  frame_writer out(to, message_kind::expect);
  out.integer(m.first.value);
  out.integer(static_cast<std::uint16_t>(m.ids.size()));
  for (auto const& id : m.ids) out.bytes(id.bytes);
}

expect_message decode_expect(byte_view payload) {
  payload_reader in(message_kind::expect, payload);
  expect_message m;
  m.first.value = in.integer<std::uint64_t>();
  auto const count = in.integer<std::uint16_t>();
  if (count == 0 || count > limits::expected_ids_max) in.refuse(format("{} ids", count));
  m.ids.reserve(count);
  for (unsigned i = 0; i < count; ++i) m.ids.push_back(in.id());
  in.finish();
  return m;
}

void encode_codec(byte_vector& to, codec_policy policy) {
  frame_writer out(to, message_kind::codec);
  out.enumerator(policy);
}

codec_policy decode_codec(byte_view payload) {
  payload_reader in(message_kind::codec, payload);
  auto const policy = in.enumerator(codec_policy::none, codec_policy::zlib, "unknown codec policy");
  in.finish();
  return policy;
}

void encode_done(byte_vector& to) { frame_writer const out(to, message_kind::done); }

void decode_done(byte_view payload) { payload_reader(message_kind::done, payload).finish(); }

}  // namespace diskdump
