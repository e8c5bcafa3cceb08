// Both agents as child processes, told what their image is expected to be.
#include <doctest/doctest.h>

#include "agent_driver.hpp"
#include "base/limits.hpp"
#include "codec/digest.hpp"
#include "wire/wire_errc.hpp"

namespace diskdump {
namespace {

std::vector<block_id> ids_of(byte_view image, std::uint32_t block_bytes) {
  block_geometry const geometry{image.size(), block_bytes};
  std::vector<block_id> ids;
  for (block_index i; i.value < geometry.blocks().value; ++i) {
    ids.push_back(sha256(image.subspan(geometry.offset_bytes(i), geometry.length_bytes(i))));
  }
  return ids;
}

TEST_SUITE_BEGIN("agent expectations");

TEST_CASE_TEMPLATE("an image that is as expected needs no answer and little is said of it", A,
                   native_agent, python_agent) {
  // All that is expected comes with START.
  auto const image = random_bytes(300 * small_block + 77, 21);
  scratch_folder const folder;
  server_hooks hooks;
  hooks.expected = ids_of(image, small_block);
  // Who waits for this answer waits for ever. The Python agent may read before it hears.
  hooks.decide = [](auto, auto const&) {
    return A::kind == agent_kind::native ? verdict::wait : verdict::have;
  };
  auto const record = run_dump(A::kind, small_start(folder.file("image", image), 8), hooks);
  check_complete(record, image, small_block);
  CHECK(record.blocks.empty());
  CHECK(record.ids.size() == 301);
  if (A::kind == agent_kind::native) {
    CHECK(record.expected_blocks == 301);
    CHECK(record.digests_messages <= 301 / limits::expected_report_blocks + 2);
  } else {
    CHECK(record.expected_blocks > 150);
  }
}

TEST_CASE_TEMPLATE("what is not as expected is announced, answered and sent as ever", A,
                   native_agent, python_agent) {
  auto const before = random_bytes(2000 * small_block + 5, 22);
  auto image = before;
  SUBCASE("some blocks changed, some are zeros now") {
    for (std::size_t i = 0; i < 2000; i += 7) image[i * small_block + i] ^= std::byte{1};
    std::fill(image.begin() + 500 * small_block, image.begin() + 600 * small_block, std::byte{0});
  }
  SUBCASE("it is longer, and its last block was a short one") {
    append_bytes(image, random_bytes(300 * small_block, 23));
  }
  SUBCASE("it is shorter") { image.resize(700 * small_block + 1); }
  scratch_folder const folder;
  server_hooks hooks;
  hooks.expected = ids_of(before, small_block);
  hooks.expected[10] = no_block;
  auto const record = run_dump(A::kind, small_start(folder.file("image", image), 16), hooks);
  check_complete(record, image, small_block);
  // Need is the answer to all that is not as expected.
  CHECK(record.blocks.size() == record.ids.size() - record.expected_blocks);
  CHECK(record.end->sent_blocks.value == record.blocks.size());
  CHECK(record.expected_blocks > 100);
}

TEST_CASE_TEMPLATE("a dump that begins in the middle takes what is expected from there on", A,
                   native_agent, python_agent) {
  auto const image = random_bytes(200 * small_block, 24);
  scratch_folder const folder;
  auto start = small_start(folder.file("image", image), 8);
  start.first_block = block_index{40};
  server_hooks hooks;
  hooks.expected = ids_of(image, small_block);
  hooks.decide = [](auto, auto const&) { return verdict::have; };
  auto const record = run_dump(A::kind, start, hooks);
  CHECK_MESSAGE(record.failure.empty(), record.failure);
  CHECK(record.exit_status == 0);
  REQUIRE(record.end.has_value());
  CHECK(record.end->data_blocks.value == 160);
  CHECK(record.expected_blocks > 80);
}

TEST_CASE_TEMPLATE("expectations that go back, or are too many, end the agent with an ABORT", A,
                   native_agent, python_agent) {
  scratch_folder const folder;
  auto const path = folder.file("image", random_bytes(100 * small_block, 25));
  std::vector<expect_message> said;
  SUBCASE("back") { said = {{{3}, {no_block}}, {{3}, {no_block}}}; }
  SUBCASE("too many") {
    for (std::uint64_t i = 0; i <= limits::expected_ahead_blocks; i += limits::expected_ids_max) {
      said.push_back({{1000 + i}, std::vector<block_id>(limits::expected_ids_max, sha256({}))});
    }
  }
  SUBCASE("behind the end of all numbers") { said = {{{~std::uint64_t{0}}, {no_block}}}; }
  server_hooks hooks;
  hooks.after = [&](server_script& server, server_session::event const& event) {
    if (!std::holds_alternative<source_message>(event)) return;
    for (auto const& m : said) encode(server.raw_output, m);
  };
  hooks.decide = [](auto, auto const&) { return verdict::wait; };
  auto const record = run_dump(A::kind, small_start(path, 4), hooks);
  CHECK(record.failure_code == wire_errc::aborted_by_peer);
  CHECK(record.exit_status == 1);
}

TEST_SUITE_END();

}  // namespace
}  // namespace diskdump
