#include "wire/server_session.hpp"

#include <utility>

#include "base/assert.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"
#include "wire/peer_text.hpp"

namespace diskdump {

server_session::server_session(session_nonce const& nonce, start_message start)
    : start_(std::move(start)), scanner_(nonce), expected_(start_.first_block) {
  check(start_);
}

// ---- What the agent says ------------------------------------------------------------------------

std::optional<server_session::event> server_session::feed(byte_view& input) {
  if (stage_ == stage::noise) {
    if (!scanner_.feed(input)) return std::nullopt;
    stage_ = stage::hello;
    // Header and nonce are never the whole of a HELLO, so there is no event yet.
    auto found = scanner_.found();
    auto const none = decoder_.feed(found);
    if (none) refuse_peer(wire_errc::malformed, "HELLO: cut off");
  }
  auto decoded = decoder_.feed(input);
  if (!decoded) return std::nullopt;
  if (auto const* const block = std::get_if<frame_decoder::block_announced>(&*decoded)) {
    return on_block_announced(*block);
  }
  return on_frame(std::get<frame_decoder::frame>(std::move(*decoded)));
}

void server_session::feed_eof() {
  if (stage_ == stage::noise) {
    throw no_hello_error("the stream ended before it", scanner_.noise());
  }
  if (has_ended() && decoder_.at_boundary()) return;
  auto failure = error(wire_errc::early_end, severity::transient);
  if (stage_ < stage::blocks) throw failure.cause("the stream ended before SOURCE");
  if (has_ended()) throw failure.cause("the stream ended inside a frame after END");
  throw failure.offset(geometry_.offset_bytes(announced_->next()))
      .cause(format("the stream ended after {} of {} blocks were announced, with {} outstanding",
                    announced_->next().value, geometry_.blocks().value, pending_.size()));
}

server_session::event server_session::on_frame(frame_decoder::frame&& frame) {
  auto const& payload = frame.payload;
  switch (frame.kind) {
    case message_kind::hello:
      expect_stage(frame.kind, stage::hello);
      return on_hello(decode_hello(payload));
    case message_kind::source:
      expect_stage(frame.kind, stage::source);
      return on_source(decode_source(payload));
    case message_kind::digests:
      expect_stage(frame.kind, stage::blocks);
      return on_digests(decode_digests(payload));
    case message_kind::block:
      return on_block(std::move(frame));
    case message_kind::note:
      return on_note(decode_note(payload));
    case message_kind::bad_range:
      expect_stage(frame.kind, stage::blocks);
      return on_bad_range(decode_bad_range(payload));
    case message_kind::end:
      expect_stage(frame.kind, stage::blocks);
      return on_end(decode_end(payload));
    case message_kind::abort:
      throw aborted_error(decode_abort(payload));
    default:
      break;
  }
  refuse_peer(wire_errc::unknown_kind, to_string(frame.kind));
}

void server_session::expect_stage(message_kind kind, stage wanted) const {
  if (stage_ == wanted) return;
  refuse_peer(wire_errc::out_of_order, to_string(kind));
}

server_session::event server_session::on_hello(hello_message&& m) {
  if (m.version != protocol_version) {
    throw error(wire_errc::version_mismatch, severity::permanent)
        .cause(format("version {} instead of {}", m.version, protocol_version))
        .remedy("use an agent of this release");
  }
  m.build = printable(m.build);
  stage_ = stage::start;
  return std::move(m);
}

server_session::event server_session::on_source(source_message&& m) {
  geometry_ = {m.image_bytes, start_.block_bytes};
  if (start_.first_block.value > geometry_.blocks().value) {
    refuse_peer(wire_errc::index_out_of_range,
                format("SOURCE: {} blocks, but block {} was to be the first",
                       geometry_.blocks().value, start_.first_block.value));
  }
  announced_.emplace(geometry_, start_.first_block);
  decoder_.set_block_bytes(start_.block_bytes);
  m.identity = printable(m.identity);
  stage_ = stage::blocks;
  return std::move(m);
}

// All of the message is checked before any of it counts. decode_digests bounds the sum.
void server_session::check_announcement(digests_message const& m) const {
  if (m.first != announced_->next()) {
    refuse_peer(wire_errc::index_out_of_range,
                format("DIGESTS: block {} instead of {}", m.first.value, announced_->next().value));
  }
  block_count blocks;
  std::size_t data = 0;
  for (auto const& run : m.runs) {
    blocks += run.blocks;
    if (run.kind == run_kind::data) ++data;
  }
  if (blocks > announced_->rest()) {
    refuse_peer(wire_errc::index_out_of_range,
                format("DIGESTS: {} blocks from {}, but the image has {}", blocks.value,
                       m.first.value, geometry_.blocks().value));
  }
  if (pending_.size() + data > start_.batch_blocks) {
    refuse_peer(wire_errc::window_exceeded,
                format("DIGESTS: {} data blocks to {} outstanding, more than {}", data,
                       pending_.size(), start_.batch_blocks));
  }
  auto at = m.first;
  for (auto const& run : m.runs) {
    for (std::uint64_t i = 0; run.kind == run_kind::expected && i < run.blocks.value; ++i) {
      auto const index = at + block_count{i};
      if (expected_.at(index) != no_block) continue;
      refuse_peer(wire_errc::not_asked_for,
                  format("DIGESTS: block {} as expected, but nothing was", index.value));
    }
    at += run.blocks;
  }
}

server_session::event server_session::on_digests(digests_message&& m) {
  check_announcement(m);
  digests_message resolved{m.first, {}};
  resolved.runs.reserve(m.runs.size());
  for (auto const& run : m.runs) {
    auto const index = announced_->next();
    if (run.kind == run_kind::expected) {
      for (std::uint64_t i = 0; i < run.blocks.value; ++i) {
        digest_run const one{run_kind::expected, expected_.at(index + block_count{i}), {1}};
        announced_->add(one);
        resolved.runs.push_back(one);
      }
      continue;
    }
    if (run.kind == run_kind::data) {
      pending_.emplace(index.value, pending{run.id, slot::unanswered});
      unanswered_.push_back(index);
    }
    announced_->add(run);
    resolved.runs.push_back(run);
  }
  expected_.announced(announced_->next());
  check_invariant();
  return resolved;
}

server_session::event server_session::on_block_announced(
    frame_decoder::block_announced const& block) const {
  expect_stage(message_kind::block, stage::blocks);
  auto const index = block.header.index;
  if (index.value >= geometry_.blocks().value) {
    refuse_peer(wire_errc::index_out_of_range,
                format("BLOCK: {}, but the image has {}", index.value, geometry_.blocks().value));
  }
  auto const at = pending_.find(index.value);
  if (at == pending_.end() || at->second.state != slot::needed) {
    refuse_peer(wire_errc::not_asked_for, format("BLOCK: {}", index.value));
  }
  if (block.header.raw_bytes != geometry_.length_bytes(index)) {
    refuse_peer(wire_errc::malformed,
                format("BLOCK: {} has {} bytes instead of {}", index.value, block.header.raw_bytes,
                       geometry_.length_bytes(index)));
  }
  return block_incoming{index, block.header.codec, block.header.raw_bytes, block.payload_bytes};
}

// The header was accepted by on_block_announced, and no call in between takes back a need.
server_session::event server_session::on_block(frame_decoder::frame&& frame) {
  auto const at = pending_.find(frame.header.index.value);
  DISKDUMP_ASSERT(at != pending_.end() && at->second.state == slot::needed);
  block_received received{frame.header.index, at->second.id, frame.header.codec,
                          frame.header.raw_bytes, std::move(frame.payload)};
  pending_.erase(at);
  --needed_;
  ++received_;
  return received;
}

server_session::event server_session::on_note(note_message&& m) {
  if (has_ended()) refuse_peer(wire_errc::out_of_order, "NOTE after END");
  if (stage_ == stage::hello) refuse_peer(wire_errc::out_of_order, "NOTE before HELLO");
  if (++notes_ > limits::notes_max) {
    refuse_peer(wire_errc::too_much_talk, format("more than {} notes", limits::notes_max));
  }
  m.text = printable(m.text);
  return std::move(m);
}

server_session::event server_session::on_bad_range(bad_range_message&& m) {
  // A long one comes in parts, each before the blocks that it is in.
  bool const goes_on = bad_ranges_ > 0 && m.offset_bytes == bad_until_bytes_;
  if (!goes_on && ++bad_ranges_ > limits::bad_ranges_max) {
    refuse_peer(wire_errc::too_much_talk,
                format("more than {} bad ranges", limits::bad_ranges_max));
  }
  auto const first_bytes = std::max(bad_until_bytes_, geometry_.offset_bytes(announced_->next()));
  if (m.offset_bytes < first_bytes || m.offset_bytes >= geometry_.image_bytes ||
      m.length_bytes > geometry_.image_bytes - m.offset_bytes) {
    refuse_peer(wire_errc::index_out_of_range,
                format("BAD_RANGE: {} bytes at {}, but only what lies between {} and {} was not "
                       "announced",
                       m.length_bytes, m.offset_bytes, first_bytes, geometry_.image_bytes));
  }
  bad_until_bytes_ = m.offset_bytes + m.length_bytes;
  return std::move(m);
}

server_session::event server_session::on_end(end_message&& m) {
  if (announced_->rest().value > 0 || !pending_.empty()) {
    refuse_peer(wire_errc::early_end,
                format("END after {} of {} blocks were announced, with {} outstanding",
                       announced_->next().value, geometry_.blocks().value, pending_.size()));
  }
  auto const same = [](std::string_view what, block_count said, block_count counted) {
    if (said == counted) return;
    refuse_peer(wire_errc::totals_differ,
                format("END: {} {} instead of {}", said.value, what, counted.value));
  };
  same("blocks", m.blocks, geometry_.blocks());
  same("data blocks", m.data_blocks, announced_->data_blocks());
  same("zero blocks", m.zero_blocks, announced_->zero_blocks());
  same("sent blocks", m.sent_blocks, received_);
  if (m.ids_digest != announced_->value()) {
    refuse_peer(wire_errc::totals_differ, "END: the digest over the block ids");
  }
  stage_ = stage::ended;
  return ended{m};
}

// ---- What the server says -----------------------------------------------------------------------

void server_session::start() {
  DISKDUMP_ASSERT(stage_ == stage::start);
  encode(output_, start_);
  stage_ = stage::source;
}

void server_session::answer(std::span<verdict const> verdicts) {
  DISKDUMP_ASSERT(verdicts.size() <= unanswered_.size());
  while (!verdicts.empty()) {
    auto const part = verdicts.first(std::min(verdicts.size(), limits::answers_max));
    verdicts = verdicts.subspan(part.size());
    answer_message m{unanswered_.front(), {part.begin(), part.end()}};
    for (auto const outcome : part) {
      auto const at = pending_.find(unanswered_.front().value);
      unanswered_.pop_front();
      if (outcome == verdict::have) {
        pending_.erase(at);
      } else {
        at->second.state = outcome == verdict::need ? slot::needed : slot::waits;
        if (outcome == verdict::need) ++needed_;
      }
    }
    encode(output_, m);
  }
  check_invariant();
}

void server_session::settle(block_index index, verdict outcome) {
  auto const at = pending_.find(index.value);
  DISKDUMP_ASSERT(at != pending_.end() && at->second.state == slot::waits);
  encode(output_, settle_message{index, outcome});
  if (outcome == verdict::have) {
    pending_.erase(at);
  } else {
    at->second.state = slot::needed;
    ++needed_;
  }
}

bool server_session::owes() const noexcept {
  if (stage_ < stage::blocks || !announced_) return true;
  if (stage_ >= stage::ended) return false;
  if (needed_ > 0) return true;
  // It reads a group once it has slots for all of it.
  auto const group = std::min(limits::group_blocks, start_.batch_blocks);
  if (announced_->rest().value > 0) return pending_.size() + group <= start_.batch_blocks;
  return pending_.empty();
}

void server_session::switch_codec(codec_policy policy) {
  DISKDUMP_ASSERT(stage_ >= stage::source);
  if (!has_ended()) encode_codec(output_, policy);
}

void server_session::limit_read(std::uint64_t bytes_per_s) {
  if (stage_ <= stage::start) {
    start_.read_limit_bytes_per_s = bytes_per_s;
  } else if (!has_ended()) {
    encode(output_, limit_message{bytes_per_s});
  }
}

block_index server_session::expected_from() const noexcept {
  return announced_ ? announced_->next() : start_.first_block;
}

void server_session::expect(block_index first, std::span<block_id const> ids) {
  DISKDUMP_ASSERT(has_started());
  DISKDUMP_ASSERT(expected_.may_add(first, ids));
  if (has_ended()) return;
  while (!ids.empty() && (ids.front() == no_block || first < expected_from())) {
    ids = ids.subspan(1);
    ++first;
  }
  while (!ids.empty() && ids.back() == no_block) ids = ids.first(ids.size() - 1);
  if (ids.empty()) return;
  expected_.add(first, ids);
  while (!ids.empty()) {
    auto const part = ids.first(std::min(ids.size(), limits::expected_ids_max));
    encode(output_, expect_message{first, {part.begin(), part.end()}});
    first += block_count{part.size()};
    ids = ids.subspan(part.size());
  }
}

void server_session::finish() {
  DISKDUMP_ASSERT(stage_ == stage::ended);
  encode_done(output_);
  stage_ = stage::finished;
}

void server_session::abort(abort_code code, std::string_view text) {
  encode(output_, abort_message{.code = code, .text = std::string(text)});
}

byte_vector server_session::take_output() { return std::exchange(output_, {}); }

void server_session::check_invariant() const {
  DISKDUMP_ASSERT(pending_.size() <= start_.batch_blocks);
  DISKDUMP_ASSERT(unanswered_.size() <= pending_.size());
}

}  // namespace diskdump
