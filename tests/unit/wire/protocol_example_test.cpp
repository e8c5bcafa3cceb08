// Reads the worked example out of PROTOCOL.md and holds it against what the sessions send.
#include <fstream>
#include <sstream>

#include "wire_test_support.hpp"

namespace diskdump {

namespace {

// Lines "A 00 01 … | words" and "S …" after the heading; neighbours of one side are joined.
struct speech {
  char side;
  byte_vector bytes;
};

std::vector<speech> read_example() {
  std::ifstream file(DISKDUMP_PROTOCOL_MD);
  REQUIRE(file.good());
  std::vector<speech> out;
  std::string line;
  bool inside = false;
  while (std::getline(file, line)) {
    if (line.starts_with("## ")) inside = line == "## Worked example";
    if (!inside || line.size() < 2 || line[1] != ' ' || (line[0] != 'A' && line[0] != 'S'))
      continue;
    if (out.empty() || out.back().side != line[0]) out.push_back({line[0], {}});
    std::istringstream words(line.substr(2, line.find('|') - 2));
    for (std::string word; words >> word;) {
      REQUIRE(word.size() == 2);
      out.back().bytes.push_back(static_cast<std::byte>(std::stoul(word, nullptr, 16)));
    }
  }
  return out;
}

}  // namespace

TEST_SUITE("protocol example") {
  TEST_CASE("the sessions say what PROTOCOL.md says they say, byte for byte") {
    auto const raw = as_bytes("hello");
    start_message start;
    start.path = "/tmp/image";
    start.block_bytes = limits::block_bytes_default;
    start.batch_blocks = limits::batch_blocks_default;
    server_session server(sample_nonce(), start);
    agent_session agent;
    std::vector<speech> said;
    auto const to_server = [&](byte_vector bytes) {
      feed_all(server, bytes);
      said.push_back({'A', std::move(bytes)});
    };
    auto const to_agent = [&] {
      auto bytes = server.take_output();
      feed_all(agent, bytes);
      said.push_back({'S', std::move(bytes)});
    };

    agent.hello(sample_hello());
    to_server(agent.take_output());
    server.start();
    to_agent();
    agent.source({.image_bytes = raw.size()});
    agent.digests({{0}, {data_run(sha256(raw))}});
    to_server(agent.take_output());
    server.answer(std::vector{verdict::need});
    to_agent();
    byte_vector block;
    agent.block({{0}, block_codec::raw, 5}, raw.size(), block);
    append_bytes(block, raw);
    agent.end(raw.size());
    append_bytes(block, agent.take_output());
    to_server(block);
    server.finish();
    to_agent();

    auto const example = read_example();
    REQUIRE(example.size() == said.size());
    for (std::size_t i = 0; i < said.size(); ++i) {
      CAPTURE(i);
      CHECK(example[i].side == said[i].side);
      CHECK(example[i].bytes == said[i].bytes);
    }
  }
}

}  // namespace diskdump
