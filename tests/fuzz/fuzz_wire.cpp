// Feeds any bytes to the decoders and both sessions. The first byte of an input chooses the
// machine, the second how the rest is cut into pieces (0: not at all), the third what the verbs
// answer. Whatever comes, a machine gives events or throws `error`; everything else is a finding:
// another exception, an assertion, a sanitizer's report, or a broken promise (trap()).
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <variant>

#include "base/limits.hpp"
#include "base/log.hpp"
#include "codec/digest.hpp"
#include "wire/agent_session.hpp"
#include "wire/server_session.hpp"

namespace diskdump {

namespace {

constexpr std::uint32_t block_bytes = 4096;
constexpr std::uint32_t batch_blocks = 8;
// Ends in a short block, and has room for a run of the largest message.
constexpr std::uint64_t image_bytes = (limits::digests_blocks_max + 100) * block_bytes + 5;

void trap(bool broken) {
  if (broken) std::abort();
}

// Takes one decision after the other out of one byte.
class decisions {
 public:
  explicit decisions(std::uint8_t seed) : state_(seed) {}
  std::uint32_t below(std::uint32_t bound) {
    state_ = state_ * 1664525 + 1013904223;
    return (state_ >> 16) % bound;
  }

 private:
  std::uint32_t state_;
};

session_nonce fuzz_nonce() {
  session_nonce nonce{};
  for (std::size_t i = 0; i < nonce.size(); ++i) nonce[i] = static_cast<std::byte>('A' + i);
  return nonce;
}

start_message fuzz_start() {
  start_message m;
  m.path = "/dev/sda";
  m.block_bytes = block_bytes;
  m.batch_blocks = batch_blocks;
  return m;
}

template <class Message>
byte_vector frame_of(Message const& m) {
  byte_vector out;
  encode(out, m);
  return out;
}

// Calls `feed` with all of `input`, `step` bytes at a time.
template <class Feed>
void in_pieces(byte_view input, std::size_t step, Feed feed) {
  if (step == 0) step = std::max<std::size_t>(input.size(), 1);
  while (!input.empty()) {
    auto piece = input.first(std::min(step, input.size()));
    input = input.subspan(piece.size());
    while (!piece.empty()) {
      auto const before = piece.size();
      bool const event = feed(piece);
      trap(!event && !piece.empty());
      trap(piece.size() > before);
    }
  }
}

void decode_again(message_kind kind, byte_view payload) {
  byte_vector again;
  switch (kind) {
    case message_kind::hello: {
      auto const m = decode_hello(payload);
      if (m.version != protocol_version) return;
      encode(again, m);
      break;
    }
    case message_kind::source:
      encode(again, decode_source(payload));
      break;
    case message_kind::digests:
      encode(again, decode_digests(payload));
      break;
    case message_kind::note:
      encode(again, decode_note(payload));
      break;
    case message_kind::end:
      encode(again, decode_end(payload));
      break;
    case message_kind::abort:
      encode(again, decode_abort(payload));
      break;
    case message_kind::bad_range:
      encode(again, decode_bad_range(payload));
      break;
    case message_kind::start:
      encode(again, decode_start(payload));
      break;
    case message_kind::answer:
      encode(again, decode_answer(payload));
      break;
    case message_kind::settle:
      encode(again, decode_settle(payload));
      break;
    case message_kind::codec:
      encode_codec(again, decode_codec(payload));
      break;
    case message_kind::limit:
      encode(again, decode_limit(payload));
      break;
    case message_kind::expect:
      encode(again, decode_expect(payload));
      break;
    case message_kind::done:
      decode_done(payload);
      encode_done(again);
      break;
    case message_kind::block:
      (void)decode_block_header(payload);
      return;
    default:
      return;
  }
  // Each value has one encoding only: what was accepted comes out as it came in.
  auto const same = byte_view(again).subspan(limits::frame_header_bytes);
  trap(!std::equal(same.begin(), same.end(), payload.begin(), payload.end()));
}

void run_message(byte_view input, std::uint8_t kind) {
  decode_again(static_cast<message_kind>(kind), input);
}

void run_decoder(wire_side side, byte_view input, std::size_t step) {
  frame_decoder decoder(side);
  if (side == wire_side::server) decoder.set_block_bytes(block_bytes);
  in_pieces(input, step, [&](byte_view& piece) {
    auto const event = decoder.feed(piece);
    if (!event) return false;
    if (auto const* const frame = std::get_if<frame_decoder::frame>(&*event)) {
      trap(frame->payload.size() >
           std::max<std::size_t>(limits::control_payload_bytes_max, block_bytes));
      if (frame->kind != message_kind::block) decode_again(frame->kind, frame->payload);
    } else {
      auto const& block = std::get<frame_decoder::block_announced>(*event);
      trap(block.payload_bytes == 0 || block.payload_bytes > block.header.raw_bytes);
      trap(block.header.raw_bytes > block_bytes);
    }
    return true;
  });
}

// The server's end with verbs around it that answer at random and keep their REQUIRES.
class server_machine {
 public:
  explicit server_machine(std::uint8_t seed)
      : session_(fuzz_nonce(), fuzz_start()), decide_(seed) {}

  void run(byte_view input, std::size_t step) {
    in_pieces(input, step, [&](byte_view& piece) {
      auto event = session_.feed(piece);
      if (!event) return false;
      std::visit([this](auto const& e) { on(e); }, *event);
      if (!waits_.empty() && decide_.below(3) == 0) settle();
      trap(session_.unsettled() > batch_blocks);
      trap(session_.unanswered() > session_.unsettled());
      (void)session_.take_output();
      return true;
    });
  }
  void eof() { session_.feed_eof(); }

 private:
  void on(hello_message const& m) {
    printable_only(m.build);
    session_.start();
  }
  void on(source_message const& m) {
    printable_only(m.identity);
    expect();
  }
  void on(digests_message const& m) {
    auto index = m.first;
    trap(m.runs.size() > limits::digest_runs_max);
    for (auto const& run : m.runs) {
      if (run.kind == run_kind::data) unanswered_.push_back(index);
      // What we told, and nothing else.
      if (run.kind == run_kind::expected) {
        trap(run.blocks.value != 1 || run.id != expected_id(index));
      }
      index += run.blocks;
    }
    expect();
    trap(unanswered_.size() != session_.unanswered());
    std::vector<verdict> verdicts(
        decide_.below(static_cast<std::uint32_t>(unanswered_.size()) + 1));
    for (auto& v : verdicts) {
      v = static_cast<verdict>(decide_.below(3));
      if (v == verdict::wait) waits_.push_back(unanswered_.front());
      unanswered_.pop_front();
    }
    session_.answer(verdicts);
    session_.limit_read(session_.unanswered());
  }
  void on(block_incoming const& b) {
    trap(b.payload_bytes > block_bytes);
    incoming_ = b.payload_bytes;
  }
  void on(block_received const& b) {
    trap(b.payload.size() != incoming_);
    trap(b.index.value >= session_.geometry().blocks().value);
    trap(b.raw_bytes != session_.geometry().length_bytes(b.index));
  }
  void on(note_message const& m) { printable_only(m.text); }
  void on(bad_range_message const& m) {
    trap(m.offset_bytes + m.length_bytes > session_.geometry().image_bytes);
  }
  void on(ended const&) {
    trap(session_.unsettled() != 0);
    session_.switch_codec(codec_policy::zlib);
    session_.limit_read(1);
    session_.finish();
  }
  // Of each three blocks the first two; the third is expected to be nothing.
  static block_id expected_id(block_index i) {
    block_id id;
    if (i.value % 3 != 2) id.bytes[0] = static_cast<std::byte>(i.value % 3 + 1);
    return id;
  }
  void expect() {
    auto const from = std::max(session_.expected_from(), session_.expected_until());
    std::vector<block_id> ids;
    for (auto i = from; ids.size() < std::min<std::size_t>(6, session_.expected_room()); ++i) {
      ids.push_back(expected_id(i));
    }
    if (!ids.empty()) session_.expect(from, ids);
  }
  void settle() {
    session_.settle(waits_.front(), decide_.below(2) == 0 ? verdict::have : verdict::need);
    waits_.pop_front();
  }
  static void printable_only(std::string const& text) {
    for (char const c : text) trap(c == '\x1b' || c == '\r' || c == '\0');
  }

  server_session session_;
  decisions decide_;
  std::deque<block_index> unanswered_;
  std::deque<block_index> waits_;
  std::size_t incoming_ = 0;
};

// The agent's end with an image of data blocks and holes around it.
class agent_machine {
 public:
  explicit agent_machine(std::uint8_t seed) : decide_(seed) {}

  void run(byte_view input, std::size_t step) {
    in_pieces(input, step, [&](byte_view& piece) {
      auto event = session_.feed(piece);
      if (!event) return false;
      std::visit([this](auto const& e) { on(e); }, *event);
      turn();
      trap(session_.unsettled() > start_.batch_blocks);
      (void)session_.take_output();
      return true;
    });
  }

 private:
  void on(start_message const& m) {
    start_ = m;
    check(m);
    // An image of 20 blocks and a bit, however large the blocks are.
    geometry_ = {std::uint64_t{20} * m.block_bytes + 1, m.block_bytes};
    session_.source({.image_bytes = geometry_.image_bytes});
    next_ = m.first_block;
    announcing_ = true;
  }
  void on(std::vector<block_verdict> const& verdicts) {
    for (auto const& v : verdicts) {
      trap(v.index >= next_);
      if (v.outcome != verdict::need) continue;
      auto const raw_bytes = geometry_.length_bytes(v.index);
      byte_vector header;
      session_.block({v.index, block_codec::lz4, raw_bytes}, 1, header);
    }
  }
  void on(limit_message const&) {}
  void on(codec_policy policy) { trap(policy > codec_policy::zlib); }
  void on(finished const&) { trap(!ended_); }

  void turn() {
    while (announcing_ && next_.value < geometry_.blocks().value &&
           session_.unsettled() < start_.batch_blocks) {
      bool const data = decide_.below(4) != 0;
      auto const& id = session_.expected(next_);
      if (id != no_block && decide_.below(2) == 0) {
        session_.digests({next_, {{run_kind::expected, id, {1}}}});
      } else {
        session_.digests({next_, {{data ? run_kind::data : run_kind::hole, {}, {1}}}});
      }
      ++next_;
    }
    if (session_.complete()) {
      session_.end(1);
      ended_ = true;
      announcing_ = false;
    }
  }

  agent_session session_;
  decisions decide_;
  start_message start_;
  block_geometry geometry_;
  block_index next_;
  bool announcing_ = false;
  bool ended_ = false;
};

void run_server(byte_view input, std::size_t step, std::uint8_t seed, bool introduced) {
  server_machine machine(seed);
  if (introduced) {
    hello_message hello;
    hello.nonce = fuzz_nonce();
    machine.run(frame_of(hello), 0);
    machine.run(frame_of(source_message{.image_bytes = image_bytes}), 0);
  }
  machine.run(input, step);
  machine.eof();
}

void run_agent(byte_view input, std::size_t step, std::uint8_t seed, bool introduced) {
  agent_machine machine(seed);
  if (introduced) machine.run(frame_of(fuzz_start()), 0);
  machine.run(input, step);
}

}  // namespace

}  // namespace diskdump

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  using namespace diskdump;
  if (size < 3) return 0;
  auto const input = std::as_bytes(std::span(data + 3, size - 3));
  std::size_t const step = data[1];
  auto const seed = data[2];
  try {
    switch (data[0]) {
      case 0:
        run_message(input, seed);
        break;
      case 1:
        run_decoder(wire_side::server, input, step);
        break;
      case 2:
        run_decoder(wire_side::agent, input, step);
        break;
      case 3:
        run_server(input, step, seed, false);
        break;
      case 4:
        run_server(input, step, seed, true);
        break;
      case 5:
        run_agent(input, step, seed, false);
        break;
      case 6:
        run_agent(input, step, seed, true);
        break;
      default:
        break;
    }
  } catch (error const& e) {
    for (char const* c = e.what(); *c != '\0'; ++c) trap(*c == '\x1b');
  }
  return 0;
}
