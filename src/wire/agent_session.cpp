#include "wire/agent_session.hpp"

#include <algorithm>
#include <utility>

#include "base/assert.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "wire/peer_text.hpp"

namespace diskdump {

// ---- What the server says -----------------------------------------------------------------------

std::optional<agent_session::event> agent_session::feed(byte_view& input) {
  while (auto decoded = decoder_.feed(input)) {
    if (auto event = on_frame(std::get<frame_decoder::frame>(std::move(*decoded)))) return event;
  }
  return std::nullopt;
}

std::optional<agent_session::event> agent_session::on_frame(frame_decoder::frame&& frame) {
  auto const& payload = frame.payload;
  switch (frame.kind) {
    case message_kind::start:
      expect_stage(frame.kind, stage::start, stage::start);
      start_ = decode_start(payload);
      expected_ = expectations(start_.first_block);
      stage_ = stage::source;
      return start_;
    case message_kind::answer:
      expect_stage(frame.kind, stage::blocks, stage::blocks);
      return on_answer(decode_answer(payload));
    case message_kind::settle:
      expect_stage(frame.kind, stage::blocks, stage::blocks);
      return on_settle(decode_settle(payload));
    case message_kind::codec:
      // May cross SOURCE or END on the way.
      expect_stage(frame.kind, stage::source, stage::ended);
      return decode_codec(payload);
    case message_kind::limit:
      // As CODEC.
      expect_stage(frame.kind, stage::source, stage::ended);
      return decode_limit(payload);
    case message_kind::expect:
      // As CODEC.
      expect_stage(frame.kind, stage::source, stage::ended);
      on_expect(decode_expect(payload));
      return std::nullopt;
    case message_kind::done:
      expect_stage(frame.kind, stage::ended, stage::ended);
      decode_done(payload);
      stage_ = stage::finished;
      return finished{};
    case message_kind::abort:
      throw aborted_error(decode_abort(payload));
    default:
      break;
  }
  refuse_peer(wire_errc::unknown_kind, to_string(frame.kind));
}

void agent_session::expect_stage(message_kind kind, stage first, stage last) const {
  if (stage_ >= first && stage_ <= last) return;
  refuse_peer(wire_errc::out_of_order, to_string(kind));
}

agent_session::event agent_session::on_answer(answer_message const& m) {
  if (m.verdicts.size() > unanswered_.size()) {
    refuse_peer(wire_errc::not_asked_for,
                format("ANSWER: {} verdicts for {} blocks", m.verdicts.size(), unanswered_.size()));
  }
  if (m.first != unanswered_.front()) {
    refuse_peer(wire_errc::index_out_of_range,
                format("ANSWER: block {} instead of {}", m.first.value, unanswered_.front().value));
  }
  std::vector<block_verdict> verdicts;
  verdicts.reserve(m.verdicts.size());
  for (auto const outcome : m.verdicts) {
    auto const index = unanswered_.front();
    unanswered_.pop_front();
    if (outcome == verdict::have) {
      pending_.erase(index.value);
    } else {
      pending_[index.value] = outcome == verdict::need ? slot::needed : slot::waits;
    }
    verdicts.push_back({index, outcome});
  }
  return verdicts;
}

agent_session::event agent_session::on_settle(settle_message const& m) {
  auto const at = pending_.find(m.index.value);
  if (at == pending_.end() || at->second != slot::waits) {
    refuse_peer(wire_errc::not_asked_for, format("SETTLE: block {} does not wait", m.index.value));
  }
  if (m.outcome == verdict::have) {
    pending_.erase(at);
  } else {
    at->second = slot::needed;
  }
  return std::vector<block_verdict>{{m.index, m.outcome}};
}

// What the server has seen announced is no more than what was, so it counts no fewer ids than we
// do. A block that the source does not have any more is as good as one that comes too late.
void agent_session::on_expect(expect_message const& m) {
  if (!expected_.may_add(m.first, m.ids)) {
    refuse_peer(
        wire_errc::index_out_of_range,
        format("EXPECT: {} blocks from {}, where {} is the next and there is room for {}",
               m.ids.size(), m.first.value, expected_.told_until().value, expected_.room()));
  }
  expected_.add(m.first, m.ids);
}

// ---- What the agent says ------------------------------------------------------------------------

void agent_session::hello(hello_message const& m) { encode(output_, m); }

void agent_session::source(source_message const& m) {
  DISKDUMP_ASSERT(stage_ == stage::source);
  if (m.image_bytes > limits::image_bytes_max) {
    throw error(wire_errc::malformed, severity::permanent)
        .cause(
            format("an image of {} bytes, more than {}", m.image_bytes, limits::image_bytes_max));
  }
  geometry_ = {m.image_bytes, start_.block_bytes};
  if (start_.first_block.value > geometry_.blocks().value) {
    throw error(wire_errc::index_out_of_range, severity::permanent)
        .cause(format("block {} is to be the first, but the source has {}",
                      start_.first_block.value, geometry_.blocks().value));
  }
  announced_.emplace(geometry_, start_.first_block);
  encode(output_, m);
  stage_ = stage::blocks;
}

void agent_session::announce(digest_run const& run) {
  if (run.kind == run_kind::data) {
    auto const index = announced_->next();
    pending_.emplace(index.value, slot::unanswered);
    unanswered_.push_back(index);
    DISKDUMP_ASSERT(pending_.size() <= start_.batch_blocks);
  } else if (run.kind == run_kind::expected) {
    DISKDUMP_ASSERT(run.id != no_block && run.id == expected_.at(announced_->next()));
  }
  announced_->add(run);
  expected_.announced(announced_->next());
}

void agent_session::digests(digests_message const& m) {
  DISKDUMP_ASSERT(stage_ == stage::blocks);
  DISKDUMP_ASSERT(m.first == announced_->next());
  digests_message part{m.first, {}};
  std::size_t part_runs = 0;  // expected blocks count one by one
  std::uint64_t part_blocks = 0;
  auto const flush = [&] {
    encode(output_, part);
    part = {announced_->next(), {}};
    part_runs = 0;
    part_blocks = 0;
  };
  for (auto run : m.runs) {
    for (auto left = run.blocks.value; left > 0; left -= run.blocks.value) {
      if (part_runs == limits::digest_runs_max || part_blocks == limits::digests_blocks_max) {
        flush();
      }
      run.blocks.value = std::min(left, limits::digests_blocks_max - part_blocks);
      part_blocks += run.blocks.value;
      ++part_runs;
      bool const goes_on = run.kind == run_kind::expected && !part.runs.empty() &&
                           part.runs.back().kind == run_kind::expected;
      if (goes_on) {
        ++part.runs.back().blocks;
      } else {
        part.runs.push_back(run);
      }
      announce(run);
    }
  }
  if (!part.runs.empty()) flush();
}

void agent_session::block(block_header const& m, std::size_t payload_bytes, byte_vector& header) {
  auto const at = pending_.find(m.index.value);
  DISKDUMP_ASSERT(at != pending_.end() && at->second == slot::needed);
  DISKDUMP_ASSERT(m.raw_bytes == geometry_.length_bytes(m.index));
  DISKDUMP_ASSERT(m.codec != block_codec::raw || payload_bytes == m.raw_bytes);
  encode_block_header(header, m, payload_bytes);
  pending_.erase(at);
  ++sent_;
}

void agent_session::note(note_message const& m) {
  if (stage_ >= stage::ended || notes_ == limits::notes_max) return;
  if (++notes_ == limits::notes_max) {
    encode(output_, note_message{.level = 2, .text = "further notes are not sent"});
  } else {
    encode(output_, m);
  }
}

void agent_session::bad_range(bad_range_message const& m) {
  DISKDUMP_ASSERT(stage_ == stage::blocks);
  bool const goes_on = bad_ranges_ > 0 && m.offset_bytes == bad_until_bytes_;
  if (!goes_on && ++bad_ranges_ > limits::bad_ranges_max) {
    throw error(wire_errc::too_much_talk, severity::permanent)
        .offset(m.offset_bytes)
        .cause(format("more than {} unreadable ranges", limits::bad_ranges_max));
  }
  bad_until_bytes_ = m.offset_bytes + m.length_bytes;
  encode(output_, m);
}

void agent_session::end(std::uint64_t read_bytes) {
  DISKDUMP_ASSERT(complete());
  encode(output_, end_message{.blocks = geometry_.blocks(),
                              .data_blocks = announced_->data_blocks(),
                              .zero_blocks = announced_->zero_blocks(),
                              .sent_blocks = sent_,
                              .read_bytes = read_bytes,
                              .ids_digest = announced_->value()});
  stage_ = stage::ended;
}

void agent_session::abort(abort_message const& m) { encode(output_, m); }

byte_vector agent_session::take_output() { return std::exchange(output_, {}); }

bool agent_session::complete() const noexcept {
  return stage_ == stage::blocks && announced_->rest().value == 0 && pending_.empty();
}

}  // namespace diskdump
