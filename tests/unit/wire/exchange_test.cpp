// Both sessions against each other, with models of agent and server around them that keep the
// rules: whole dumps of small images, in every cut of the byte stream.
#include <deque>
#include <random>
#include <set>

#include "codec/compress.hpp"
#include "wire_test_support.hpp"

namespace diskdump {

namespace {

byte_vector random_image(std::size_t length, std::uint32_t seed = 1) {
  std::mt19937 random(seed);
  byte_vector out(length);
  for (auto& b : out) b = static_cast<std::byte>(random());
  return out;
}

// The agent's side of a dump: announces while there are slots, sends what is needed.
struct agent_model {
  byte_vector image;
  bool holes = false;  // report zeros as holes
  std::uint32_t group_blocks = 3;

  agent_session session{};
  block_geometry geometry{};
  start_message start{};
  block_index next{};
  codec_policy policy = codec_policy::none;
  block_compressor compressor{};
  byte_vector output{};
  bool source_sent = false;
  bool ended = false;
  bool done = false;
  std::size_t unsettled_max = 0;
  std::vector<std::uint64_t> read_limits{};
  std::map<block_codec, std::size_t> sent{};

  byte_view block_of(block_index i) const {
    return byte_view(image).subspan(geometry.offset_bytes(i), geometry.length_bytes(i));
  }

  void flush() { append_bytes(output, session.take_output()); }

  void send(block_index i) {
    auto const raw = block_of(i);
    byte_vector packed(lz4_frame_bytes_max(raw.size()));
    auto codec = block_codec::raw;
    std::size_t length = 0;
    if (policy == codec_policy::lz4) {
      codec = block_codec::lz4;
      length = compressor.lz4_frame(raw, packed);
    } else if (policy == codec_policy::zlib) {
      codec = block_codec::zlib;
      length = compressor.zlib(raw, packed).value_or(raw.size());
    }
    if (codec == block_codec::raw || length >= raw.size()) {
      codec = block_codec::raw;
      packed.assign(raw.begin(), raw.end());
      length = raw.size();
    }
    flush();
    session.block({i, codec, static_cast<std::uint32_t>(raw.size())}, length, output);
    append_bytes(output, byte_view(packed).first(length));
    ++sent[codec];
  }

  void on(agent_session::event&& event) {
    if (auto* const m = std::get_if<start_message>(&event)) {
      start = *m;
      policy = m->codec;
      geometry = {image.size(), m->block_bytes};
      next = m->first_block;
      session.source({.image_bytes = image.size()});
      source_sent = true;
    } else if (auto* const verdicts = std::get_if<std::vector<block_verdict>>(&event)) {
      for (auto const& v : *verdicts) {
        if (v.outcome == verdict::need) send(v.index);
      }
    } else if (auto* const changed = std::get_if<codec_policy>(&event)) {
      policy = *changed;
    } else if (auto* const limit = std::get_if<limit_message>(&event)) {
      read_limits.push_back(limit->read_limit_bytes_per_s);
    } else {
      done = true;
    }
  }

  void announce() {
    digests_message m{next, {}};
    std::uint32_t data = 0;
    while (next < block_index{} + geometry.blocks() && m.runs.size() < group_blocks &&
           session.unsettled() + data < start.batch_blocks) {
      auto const raw = block_of(next);
      auto const id = sha256(raw);
      if (is_zero(raw)) {
        m.runs.push_back(zero_run(1, holes ? run_kind::hole : run_kind::zeros));
      } else if (id == session.expected(next)) {
        m.runs.push_back({run_kind::expected, id, {1}});
      } else {
        m.runs.push_back(data_run(id));
        ++data;
      }
      ++next;
    }
    if (!m.runs.empty()) session.digests(m);
    unsettled_max = std::max(unsettled_max, session.unsettled());
  }

  void turn(byte_view input) {
    while (!input.empty()) {
      if (auto event = session.feed(input)) on(std::move(*event));
    }
    if (source_sent && !ended) announce();
    if (session.complete()) {
      session.end(image.size());
      ended = true;
    }
    flush();
  }
};

// The server's side: answers `have` for what it holds, `wait` for what is on its way already.
struct server_model {
  server_session session;
  std::set<block_id> held{};
  std::set<block_id> claimed{};  // on their way from this target
  std::set<block_id> claimed_by_others{};
  std::map<std::uint64_t, block_id> waiting{};
  bool others_fail = false;                 // the claim of another settles as `need`, not as `have`
  std::optional<codec_policy> switch_to{};  // after the first block
  std::optional<std::uint64_t> limit_to{};  // likewise
  std::vector<block_id> expected{};         // of the image's blocks, told as far as may be
  block_index expect_next{};

  byte_vector image{};
  std::uint64_t image_bytes = 0;
  block_decompressor decompressor{};
  std::size_t blocks_in = 0;
  std::optional<std::size_t> incoming{};
  std::optional<end_message> totals{};
  std::map<run_kind, std::uint64_t> runs{};

  explicit server_model(start_message const& start) : session(sample_nonce(), start) {}

  void put(block_index i, byte_view raw) {
    std::copy(raw.begin(), raw.end(),
              image.begin() + static_cast<std::ptrdiff_t>(session.geometry().offset_bytes(i)));
  }

  void on(digests_message const& m) {
    for (auto const& run : m.runs) runs[run.kind] += run.blocks.value;
    std::vector<verdict> verdicts;
    auto index = m.first;
    for (auto const& run : m.runs) {
      if (run.kind == run_kind::expected) {
        CHECK(run.id == expected[index.value]);
        CHECK(run.id != no_block);
      } else if (run.kind == run_kind::data) {
        if (held.contains(run.id)) {
          verdicts.push_back(verdict::have);
        } else if (claimed.contains(run.id) || claimed_by_others.contains(run.id)) {
          verdicts.push_back(verdict::wait);
          waiting[index.value] = run.id;
        } else {
          verdicts.push_back(verdict::need);
          claimed.insert(run.id);
        }
      }
      index += run.blocks;
    }
    session.answer(verdicts);
  }

  void on(block_received const& b) {
    REQUIRE(incoming);
    CHECK(*incoming == b.payload.size());
    incoming.reset();
    byte_vector raw(b.raw_bytes);
    decompressor.decompress(b.codec, b.payload, raw);
    REQUIRE(sha256(raw) == b.id);
    put(b.index, raw);
    held.insert(b.id);
    claimed.erase(b.id);
    ++blocks_in;
    if (switch_to && blocks_in == 1) session.switch_codec(*switch_to);
    if (limit_to && blocks_in == 1) session.limit_read(*limit_to);
    settle(b.id, verdict::have);
  }

  void settle(block_id const& id, verdict outcome) {
    for (auto at = waiting.begin(); at != waiting.end();) {
      if (at->second != id) {
        ++at;
        continue;
      }
      session.settle({at->first}, outcome);
      at = waiting.erase(at);
      if (outcome == verdict::need) {
        // The next waiter claims; the others go on waiting.
        claimed.insert(id);
        return;
      }
    }
  }

  void on(server_session::event&& event) {
    if (std::holds_alternative<hello_message>(event)) {
      session.start();
    } else if (auto* const source = std::get_if<source_message>(&event)) {
      image_bytes = source->image_bytes;
      image.resize(image_bytes);
    } else if (auto* const digests = std::get_if<digests_message>(&event)) {
      on(*digests);
    } else if (auto* const coming = std::get_if<block_incoming>(&event)) {
      incoming = coming->payload_bytes;
    } else if (auto* const block = std::get_if<block_received>(&event)) {
      on(*block);
    } else if (auto* const end = std::get_if<ended>(&event)) {
      totals = end->totals;
      session.finish();
    }
  }

  void expect_more() {
    expect_next = std::max(expect_next, session.expected_until());
    auto const end = std::min<std::uint64_t>(expected.size(), expect_next.value + 5);
    if (!session.has_started() || expect_next.value >= end) return;
    session.expect(expect_next,
                   std::span(expected).subspan(expect_next.value, end - expect_next.value));
    expect_next.value = end;
  }

  byte_vector turn(byte_view input) {
    while (!input.empty()) {
      if (auto event = session.feed(input)) on(std::move(*event));
    }
    expect_more();
    // What others claimed settles once nothing else is going on.
    if (input.empty() && !claimed_by_others.empty() && claimed.empty() && !waiting.empty()) {
      auto const id = waiting.begin()->second;
      claimed_by_others.erase(id);
      if (!others_fail) held.insert(id);
      settle(id, others_fail ? verdict::need : verdict::have);
    }
    return session.take_output();
  }
};

// Carries bytes to and fro, `step` at a time, until the agent is told that all is well.
void run(agent_model& agent, server_model& server, std::size_t step) {
  byte_vector noise;
  append_bytes(noise, as_bytes("Last login: today\r\n"));
  agent.session.hello(sample_hello());
  agent.output = noise;
  agent.flush();
  byte_vector to_agent;
  for (std::size_t turns = 0; !agent.done; ++turns) {
    REQUIRE(turns < 2'000'000);
    auto const up = std::min(step, agent.output.size());
    auto const piece =
        byte_vector(agent.output.begin(), agent.output.begin() + static_cast<std::ptrdiff_t>(up));
    agent.output.erase(agent.output.begin(),
                       agent.output.begin() + static_cast<std::ptrdiff_t>(up));
    append_bytes(to_agent, server.turn(piece));
    auto const down = std::min(step, to_agent.size());
    auto const back =
        byte_vector(to_agent.begin(), to_agent.begin() + static_cast<std::ptrdiff_t>(down));
    to_agent.erase(to_agent.begin(), to_agent.begin() + static_cast<std::ptrdiff_t>(down));
    agent.turn(back);
  }
  CHECK(agent.output.empty());
  CHECK(server.session.has_ended());
  server.session.feed_eof();
  CHECK(agent.unsettled_max <= agent.start.batch_blocks);
  CHECK(server.session.unsettled() == 0);
}

// Dumps `image` into an empty store in several cuts and compares.
server_model dumped(byte_vector const& image, start_message const& start) {
  for (std::size_t const step : {std::size_t{1}, std::size_t{4099}, std::size_t{1} << 20}) {
    if (step == 1 && image.size() > 100'000) continue;
    CAPTURE(step);
    agent_model agent{.image = image};
    server_model server(start);
    run(agent, server, step);
    CHECK(server.image == image);
    if (step > 4099) return server;
  }
  return server_model(start);
}

}  // namespace

TEST_SUITE("exchange") {
  TEST_CASE("images of every length around a block and a batch arrive as they were") {
    auto const start = sample_start(8);
    for (std::size_t const length :
         {std::size_t{0}, std::size_t{1}, std::size_t{4095}, std::size_t{4096}, std::size_t{4097},
          std::size_t{8} * 4096, std::size_t{8} * 4096 + 1, std::size_t{100} * 4096 - 17}) {
      CAPTURE(length);
      auto const image = random_image(length);
      auto const server = dumped(image, start);
      REQUIRE(server.totals);
      auto const blocks = (length + block_bytes - 1) / block_bytes;
      CHECK(server.totals->blocks.value == blocks);
      CHECK(server.totals->sent_blocks.value == blocks);
      CHECK(server.totals->data_blocks.value == blocks);
      CHECK(server.totals->zero_blocks.value == 0);
    }
  }

  TEST_CASE("a batch of one block works") { (void)dumped(random_image(30'000), sample_start(1)); }

  TEST_CASE("zeros and holes are announced and never sent") {
    auto image = random_image(10 * block_bytes + 5);
    std::fill(image.begin() + 2 * block_bytes, image.begin() + 5 * block_bytes, std::byte{0});
    std::fill(image.begin() + 10 * block_bytes, image.end(), std::byte{0});
    for (bool const holes : {false, true}) {
      agent_model agent{.image = image, .holes = holes};
      server_model server(sample_start());
      run(agent, server, 1000);
      CHECK(server.image == image);
      CHECK(server.totals->zero_blocks.value == 4);
      CHECK(server.totals->sent_blocks.value == 7);
      CHECK(server.runs[holes ? run_kind::hole : run_kind::zeros] == 4);
    }
  }

  TEST_CASE("what the server holds is not sent again") {
    auto const image = random_image(20 * block_bytes);
    agent_model agent{.image = image};
    server_model server(sample_start());
    for (std::size_t i = 0; i < 20; i += 2) {
      server.held.insert(sha256(byte_view(image).subspan(i * block_bytes, block_bytes)));
    }
    run(agent, server, 1000);
    CHECK(server.totals->sent_blocks.value == 10);
    CHECK(server.totals->data_blocks.value == 20);
  }

  TEST_CASE("a block repeated within the window is asked for once; the others wait for it") {
    auto image = random_image(4 * block_bytes);
    for (int i = 0; i < 3; ++i) append_bytes(image, byte_vector(image.begin(), image.end()));
    agent_model agent{.image = image, .group_blocks = 8};
    server_model server(sample_start(16));
    run(agent, server, 1 << 20);
    CHECK(server.totals->sent_blocks.value == 4);
    CHECK(server.totals->data_blocks.value == 32);
  }

  TEST_CASE("a block that another target sends is waited for, and sent where that one fails") {
    for (bool const others_fail : {false, true}) {
      CAPTURE(others_fail);
      auto const image = random_image(5 * block_bytes);
      agent_model agent{.image = image};
      server_model server(sample_start());
      server.others_fail = others_fail;
      server.claimed_by_others = {sha256(byte_view(image).first(block_bytes)),
                                  sha256(byte_view(image).last(block_bytes))};
      run(agent, server, 500);
      CHECK(server.totals->sent_blocks.value == (others_fail ? 5 : 3));
      if (others_fail) CHECK(server.image == image);
    }
  }

  TEST_CASE("the codec follows the policy, and a switch takes effect in the middle") {
    byte_vector image;
    for (unsigned i = 0; image.size() < 40 * block_bytes; ++i) {
      append_bytes(image, as_bytes(std::to_string(i) + " "));
    }
    image.resize(40 * block_bytes);
    for (auto const policy : {codec_policy::none, codec_policy::lz4, codec_policy::zlib}) {
      auto start = sample_start();
      start.codec = policy;
      agent_model agent{.image = image};
      server_model server(start);
      run(agent, server, 4096);
      CHECK(server.image == image);
      CHECK(agent.sent.size() == 1);
    }
    auto start = sample_start();
    start.codec = codec_policy::lz4;
    agent_model agent{.image = image};
    server_model server(start);
    server.switch_to = codec_policy::zlib;
    run(agent, server, 4096);
    CHECK(server.image == image);
    CHECK(agent.sent[block_codec::lz4] > 0);
    CHECK(agent.sent[block_codec::zlib] > 0);
  }

  TEST_CASE("a new read limit reaches the agent in the middle") {
    auto const image = random_image(40 * block_bytes);
    agent_model agent{.image = image};
    server_model server(sample_start());
    server.limit_to = 12345;
    run(agent, server, 4096);
    CHECK(server.image == image);
    CHECK(agent.read_limits == std::vector<std::uint64_t>{12345});
  }

  TEST_CASE("what is as expected is neither answered nor sent, however the stream is cut") {
    auto image = random_image(60 * block_bytes + 5);
    std::fill(image.begin() + 7 * block_bytes, image.begin() + 9 * block_bytes, std::byte{0});
    for (std::size_t const step : {std::size_t{1}, std::size_t{333}, std::size_t{1} << 20}) {
      for (std::uint64_t const first : {0, 6, 50}) {
        auto start = sample_start();
        start.first_block = {first};
        agent_model agent{.image = image};
        server_model server(start);
        for (std::size_t i = 0; i < 60; ++i) {
          auto const id = sha256(byte_view(image).subspan(i * block_bytes, block_bytes));
          // Some are as they were, some are not, and of some nothing is known.
          server.expected.push_back(i % 5 == 0 ? sample_id(i) : i % 7 == 0 ? no_block : id);
        }
        run(agent, server, step);
        CHECK(server.runs[run_kind::expected] > 0);
        CHECK(server.totals->sent_blocks.value == server.runs[run_kind::data]);
        CHECK(server.totals->data_blocks.value ==
              server.runs[run_kind::data] + server.runs[run_kind::expected]);
        // What was not sent stands as zeros in the server's image.
        for (std::size_t i = first; i < 60; ++i) {
          auto const is = byte_view(server.image).subspan(i * block_bytes, block_bytes);
          auto const was = byte_view(image).subspan(i * block_bytes, block_bytes);
          CHECK((std::ranges::equal(is, was) || server.expected[i] == sha256(was)));
        }
      }
    }
  }

  TEST_CASE("a dump that starts in the middle announces from there on") {
    auto const image = random_image(10 * block_bytes - 1);
    for (std::uint64_t const first : {0, 4, 9, 10}) {
      CAPTURE(first);
      auto start = sample_start();
      start.first_block.value = first;
      agent_model agent{.image = image};
      server_model server(start);
      run(agent, server, 1000);
      CHECK(server.totals->blocks.value == 10);
      CHECK(server.totals->data_blocks.value == 10 - first);
      auto const from = std::min<std::size_t>(first * block_bytes, image.size());
      CHECK(std::equal(image.begin() + static_cast<std::ptrdiff_t>(from), image.end(),
                       server.image.begin() + static_cast<std::ptrdiff_t>(from)));
    }
  }

  TEST_CASE("a hole larger than one message may carry goes out as several") {
    constexpr std::uint64_t blocks = 3 * limits::digests_blocks_max + 7;
    auto agent = agent_with_source(blocks * block_bytes);
    agent.digests({{0}, {zero_run(blocks, run_kind::hole)}});
    CHECK(agent.complete());
    agent.end(0);
    auto server = server_with_source(blocks * block_bytes);
    auto const bytes = agent.take_output();
    byte_view input(bytes);
    std::size_t messages = 0;
    while (!input.empty()) {
      if (server.feed(input)) ++messages;
    }
    CHECK(messages == 5);
    CHECK(server.has_ended());
  }

  TEST_CASE("more runs than one message may carry go out as several") {
    constexpr std::uint32_t blocks = 2 * limits::digest_runs_max + 1;
    auto const start = sample_start(blocks);
    auto agent = agent_with_source(std::uint64_t{blocks} * block_bytes, start);
    digests_message m;
    for (std::uint32_t i = 0; i < blocks; ++i) m.runs.push_back(data_run(sample_id(i)));
    agent.digests(m);
    auto server = server_with_source(std::uint64_t{blocks} * block_bytes, start);
    feed_all(server, agent.take_output());
    CHECK(server.unanswered() == blocks);
    // As many verdicts at once go out as several ANSWERs.
    server.answer(std::vector<verdict>(blocks, verdict::have));
    feed_all(agent, server.take_output());
    CHECK(agent.complete());
  }

  TEST_CASE("ABORT carries code, errno, offset and text both ways, and no escape sequence") {
    auto agent = agent_with_source(block_bytes);
    auto server = server_with_source(block_bytes);
    agent.abort({abort_code::read_failed, 5, 8192, "bad\x1b[2Jsector"});
    auto const to_server = text_of([&] { feed_all(server, agent.take_output()); });
    CHECK(to_server ==
          "offset 8192: the other end gave up: cannot read the source: bad\\x1b[2Jsector: errno 5 "
          "Input/output error");
    server.abort(abort_code::cancelled, "interrupted");
    auto const to_agent = text_of([&] { feed_all(agent, server.take_output()); });
    CHECK(to_agent == "the other end gave up: cancelled: interrupted");
  }
}

}  // namespace diskdump
