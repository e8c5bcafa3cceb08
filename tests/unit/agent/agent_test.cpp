// What both agents must do, native and Python: the same cases over real pipes.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "agent_driver.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"

namespace diskdump {
namespace {

constexpr std::uint32_t block = limits::block_bytes_default;

start_message start_for(std::string path, std::uint32_t block_bytes = block,
                        std::uint32_t batch_blocks = limits::batch_blocks_default,
                        codec_policy codec = codec_policy::lz4) {
  start_message start;
  start.path = std::move(path);
  start.block_bytes = block_bytes;
  start.batch_blocks = batch_blocks;
  start.codec = codec;
  return start;
}

// Reads whole and gives back whole, under the given block size, batch and policy.
void check_round_trip(agent_kind kind, byte_view image, std::uint32_t block_bytes = block,
                      std::uint32_t batch_blocks = limits::batch_blocks_default,
                      codec_policy codec = codec_policy::lz4) {
  scratch_folder const folder;
  auto const record =
      run_dump(kind, start_for(folder.file("image", image), block_bytes, batch_blocks, codec));
  check_complete(record, image, block_bytes);
  CHECK(record.blocks.size() == record.ids.size());
}

void append(byte_vector& to, byte_vector const& more) { append_bytes(to, more); }

bool contains(std::string const& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

// ---- Images -------------------------------------------------------------------------------------

TEST_SUITE_BEGIN("agent");

TEST_CASE_TEMPLATE("HELLO tells nonce, version and engine, SOURCE what the source is", A,
                   native_agent, python_agent) {
  scratch_folder const folder;
  auto const image = text_bytes(1000, 1);
  auto const record = run_dump(A::kind, start_for(folder.file("image", image)));
  REQUIRE(record.hello.has_value());
  CHECK(record.hello->version == protocol_version);
  CHECK(record.hello->architecture == machine_architecture::x86_64);
  CHECK(!record.hello->build.empty());
  if (A::kind == agent_kind::native) {
    std::ifstream in(native_agent_path(), std::ios::binary);
    std::string const own((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    CHECK(record.hello->self_digest == sha256(as_bytes(own)));
  } else {
    CHECK(record.hello->engine == read_engine::python);
  }
  REQUIRE(record.source.has_value());
  CHECK(record.source->type == source_type::regular_file);
  CHECK(record.source->direct_io == false);
  check_complete(record, image, block);
}

TEST_CASE_TEMPLATE("an empty file is a dump of no blocks", A, native_agent, python_agent) {
  check_round_trip(A::kind, {});
}

TEST_CASE_TEMPLATE("one byte is a dump", A, native_agent, python_agent) {
  check_round_trip(A::kind, text_bytes(1, 1));
}

TEST_CASE_TEMPLATE("the last block may be partial", A, native_agent, python_agent) {
  check_round_trip(A::kind, text_bytes(5 * block + 777, 2));
}

TEST_CASE_TEMPLATE("an image may be exactly one batch", A, native_agent, python_agent) {
  check_round_trip(A::kind, random_bytes(8 * small_block, 3), small_block, 8);
}

TEST_CASE_TEMPLATE("an image may be many batches, also of one block", A, native_agent,
                   python_agent) {
  auto const image = random_bytes(100 * small_block + 1, 4);
  check_round_trip(A::kind, image, small_block, 1);
  check_round_trip(A::kind, image, small_block, 2);
  check_round_trip(A::kind, image, small_block, 7);
}

TEST_CASE_TEMPLATE("blocks may be larger than one read request", A, native_agent, python_agent) {
  auto image = text_bytes(5 * limits::read_bytes_max, 5);
  append(image, random_bytes(3 * limits::read_bytes_max + 12345, 6));
  check_round_trip(A::kind, image, 2 * limits::read_bytes_max, 2);
}

TEST_CASE_TEMPLATE("zero blocks are announced as such and not sent", A, native_agent,
                   python_agent) {
  byte_vector image(20 * block);  // written, so that there are no holes
  append(image, random_bytes(block, 7));
  append(image, byte_vector(9 * block + 100));
  scratch_folder const folder;
  auto const record = run_dump(A::kind, start_for(folder.file("image", image)));
  check_complete(record, image, block);
  CHECK(record.blocks.size() == 1);
  CHECK(record.zero_blocks == 30);
}

TEST_CASE_TEMPLATE("a block with a single one bit is data", A, native_agent, python_agent) {
  byte_vector image(6 * small_block);
  image[2 * small_block - 1] = std::byte{1};
  image[3 * small_block] = std::byte{0x80};
  check_round_trip(A::kind, image, small_block);
}

TEST_CASE_TEMPLATE("holes are not read", A, native_agent, python_agent) {
  constexpr std::uint64_t size = 20 * limits::GiB;
  constexpr std::uint64_t middle = 10 * limits::GiB + 1234;
  auto const data = random_bytes(500'000, 8);
  scratch_folder const folder;
  auto const path = folder.path("sparse");
  {
    std::ofstream out(path, std::ios::binary);
    out.seekp(middle);
    out.write(reinterpret_cast<char const*>(data.data()), 500'000);
  }
  REQUIRE(::truncate(path.c_str(), size) == 0);
  auto const record = run_dump(A::kind, start_for(path));
  CHECK_MESSAGE(record.failure.empty(), record.failure);
  REQUIRE(record.end.has_value());
  CHECK(record.end->blocks.value == size / block);
  CHECK(record.hole_blocks + record.zero_blocks + record.ids.size() == size / block);
  CHECK(record.ids.size() == 4);
  CHECK(record.end->read_bytes <= limits::MiB);
  byte_vector joined;
  for (auto const& [index, bytes] : record.blocks) append(joined, bytes);
  auto const at = middle - record.blocks.begin()->first * block;
  CHECK(std::equal(data.begin(), data.end(), joined.begin() + at));
  if (!sanitized_build()) CHECK(record.elapsed < std::chrono::seconds(2));
}

TEST_CASE_TEMPLATE("a hole at the end, and one that ends inside a block", A, native_agent,
                   python_agent) {
  scratch_folder const folder;
  auto const head = random_bytes(3 * small_block + 10, 9);
  auto const path = folder.file("image", head);
  REQUIRE(::truncate(path.c_str(), 1'000'001) == 0);
  auto image = head;
  image.resize(1'000'001);
  check_complete(run_dump(A::kind, start_for(path, small_block)), image, small_block);
}

TEST_CASE_TEMPLATE("paths are taken byte for byte", A, native_agent, python_agent) {
  scratch_folder const folder;
  auto const image = text_bytes(100, 1);
  for (auto const* name : {"with space", "$(touch x) `id` \"'\\", "new\nline", "\xff\xfe"}) {
    check_complete(run_dump(A::kind, start_for(folder.file(name, image))), image, block);
  }
}

// ---- Answers ------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("nothing is sent where the server has all", A, native_agent, python_agent) {
  scratch_folder const folder;
  auto const image = random_bytes(300 * small_block, 10);
  auto const record = run_dump(A::kind, start_for(folder.file("image", image), small_block, 16),
                               {.decide = [](auto, auto const&) { return verdict::have; }});
  check_complete(record, image, small_block);
  CHECK(record.blocks.empty());
  CHECK(record.end->sent_blocks.value == 0);
}

TEST_CASE_TEMPLATE("a block that repeats is sent once if the server says so", A, native_agent,
                   python_agent) {
  byte_vector image;
  for (int i = 0; i < 50; ++i) append(image, text_bytes(small_block, 100 + i % 3));
  scratch_folder const folder;
  std::set<block_id> seen;
  auto const record = run_dump(A::kind, start_for(folder.file("image", image), small_block, 16),
                               {.decide = [&](auto, block_id const& id) {
                                 return seen.insert(id).second ? verdict::need : verdict::have;
                               }});
  check_complete(record, image, small_block);
  CHECK(record.blocks.size() == 3);
}

TEST_CASE_TEMPLATE("a block told to wait is kept until it is settled", A, native_agent,
                   python_agent) {
  scratch_folder const folder;
  auto const image = random_bytes(64 * small_block + 5, 11);
  // Every third block waits; it settles to have or need in turn, newest first, once the batch
  // cannot move on without it or the image is through.
  server_hooks hooks;
  hooks.decide = [](block_index i, auto const&) {
    return i.value % 3 == 0 ? verdict::wait : verdict::need;
  };
  bool need = false;
  hooks.after = [&](server_script& server, server_session::event const&) {
    if (!server.record.source) return;
    bool const through = server.session.announced().next().value == 65;
    while (server.waiting.size() >= 8 || (through && !server.waiting.empty())) {
      server.session.settle(server.waiting.back(), need ? verdict::need : verdict::have);
      server.waiting.pop_back();
      need = !need;
    }
  };
  auto const record =
      run_dump(A::kind, start_for(folder.file("image", image), small_block, 8), hooks);
  check_complete(record, image, small_block);
  CHECK(record.blocks.size() > 43);
  CHECK(record.blocks.size() < 65);
}

TEST_CASE_TEMPLATE("a first block other than zero is where the dump begins", A, native_agent,
                   python_agent) {
  scratch_folder const folder;
  auto const image = random_bytes(20 * small_block + 9, 12);
  auto start = start_for(folder.file("image", image), small_block);
  start.first_block = block_index{13};
  auto const record = run_dump(A::kind, start);
  CHECK_MESSAGE(record.failure.empty(), record.failure);
  CHECK(record.ids.size() == 8);
  CHECK(record.ids.begin()->first == 13);
}

// ---- Compression --------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("blocks travel as the policy says, raw where they do not shrink", A,
                   native_agent, python_agent) {
  auto image = text_bytes(10 * block, 13);
  append(image, random_bytes(10 * block, 14));
  scratch_folder const folder;
  auto const path = folder.file("image", image);
  auto const packed = A::kind == agent_kind::native ? block_codec::lz4 : block_codec::zlib;
  for (auto const policy : {codec_policy::none, codec_policy::lz4, codec_policy::zlib}) {
    auto const record = run_dump(A::kind, start_for(path, block, 16, policy));
    check_complete(record, image, block);
    CHECK(record.blocks.size() == 20);
    auto const wanted = policy == codec_policy::none  ? block_codec::raw
                        : policy == codec_policy::lz4 ? packed
                                                      : block_codec::zlib;
    CHECK(record.codecs.at(block_codec::raw) == (policy == codec_policy::none ? 20 : 10));
    if (policy != codec_policy::none) {
      CHECK(record.codecs.at(wanted) == 10);
      CHECK(record.payload_bytes < 16 * block);
    }
  }
}

TEST_CASE_TEMPLATE("the policy can be switched while the dump runs", A, native_agent,
                   python_agent) {
  auto const image = text_bytes(64 * block, 15);
  scratch_folder const folder;
  server_hooks hooks;
  hooks.after = [](server_script& server, server_session::event const& event) {
    if (!std::holds_alternative<block_received>(event)) return;
    if (server.record.blocks.size() == 16) server.session.switch_codec(codec_policy::zlib);
  };
  auto const record = run_dump(
      A::kind, start_for(folder.file("image", image), block, 4, codec_policy::none), hooks);
  check_complete(record, image, block);
  CHECK(record.codecs.at(block_codec::raw) >= 16);
  CHECK(record.codecs.at(block_codec::zlib) >= 16);
}

// ---- Sources that are not as they should be -----------------------------------------------------

TEST_CASE_TEMPLATE("what cannot be opened is told with its reason", A, native_agent, python_agent) {
  scratch_folder const folder;
  auto const absent = run_dump(A::kind, start_for(folder.path("absent")));
  CHECK(absent.failure_code == wire_errc::aborted_by_peer);
  CHECK(contains(absent.failure, "No such file"));
  CHECK(absent.exit_status == 1);
  CHECK_FALSE(absent.source.has_value());

  auto const directory = run_dump(A::kind, start_for(folder.path("")));
  CHECK(contains(directory.failure, "directory"));
  CHECK(directory.exit_status == 1);

  auto const device = run_dump(A::kind, start_for("/dev/null"));
  CHECK(device.failure_code == wire_errc::aborted_by_peer);
  CHECK(device.exit_status == 1);

  auto const fifo = folder.path("fifo");
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  CHECK(run_dump(A::kind, start_for(fifo)).exit_status == 1);
}

TEST_CASE_TEMPLATE("a file without permission is told as such", A, native_agent, python_agent) {
  if (::geteuid() != 0) {
    MESSAGE("skipped: only root can become an ordinary user here");
    return;
  }
  scratch_folder const folder;
  auto const path = folder.file("secret", text_bytes(100, 1));
  REQUIRE(::chmod(path.c_str(), 0600) == 0);
  auto const record = run_dump(A::kind, start_for(path), {}, {.as_nobody = true});
  CHECK(contains(record.failure, "ermission"));
  CHECK(record.exit_status == 1);
}

TEST_CASE_TEMPLATE("a file that shrinks is an error with the offset where it ends now", A,
                   native_agent, python_agent) {
  scratch_folder const folder;
  auto const path = folder.file("image", random_bytes(200 * small_block, 16));
  server_hooks hooks;
  hooks.decide = [](auto, auto const&) { return verdict::wait; };
  hooks.after = [&](server_script& server, server_session::event const& event) {
    // The batch waits, so the agent is far from the end when the file is cut.
    if (!std::holds_alternative<digests_message>(event) || server.waiting.size() < 8) return;
    REQUIRE(::truncate(path.c_str(), 100 * small_block + 50) == 0);
    for (auto const index : std::exchange(server.waiting, {})) {
      server.session.settle(index, verdict::have);
    }
  };
  auto const record = run_dump(A::kind, start_for(path, small_block, 8), hooks);
  CHECK(record.failure_code == wire_errc::aborted_by_peer);
  CHECK_MESSAGE(record.failure_offset == 100 * small_block + 50, record.failure);
  CHECK(record.exit_status == 1);
  CHECK_FALSE(record.end.has_value());
}

TEST_CASE_TEMPLATE("a file that is cut inside a hole is not taken for zeros", A, native_agent,
                   python_agent) {
  scratch_folder const folder;
  auto const path = folder.file("image", random_bytes(64 * small_block, 17));
  REQUIRE(::truncate(path.c_str(), 10'000 * small_block) == 0);
  server_hooks hooks;
  hooks.decide = [](auto, auto const&) { return verdict::wait; };
  bool cut = false;
  hooks.after = [&](server_script& server, server_session::event const& event) {
    if (!std::holds_alternative<digests_message>(event) || server.waiting.size() < 8) return;
    if (!std::exchange(cut, true)) REQUIRE(::truncate(path.c_str(), 5'000'000) == 0);
    for (auto const index : std::exchange(server.waiting, {})) {
      server.session.settle(index, verdict::have);
    }
  };
  auto const record = run_dump(A::kind, start_for(path, small_block, 8), hooks);
  CHECK(record.failure_code == wire_errc::aborted_by_peer);
  CHECK_MESSAGE(record.failure_offset == 5'000'000, record.failure);
}

TEST_CASE_TEMPLATE("a file that grows is dumped at the size it had", A, native_agent,
                   python_agent) {
  scratch_folder const folder;
  auto const image = random_bytes(100 * small_block + 100, 18);
  auto const path = folder.file("image", image);
  server_hooks hooks;
  hooks.after = [&](server_script&, server_session::event const& event) {
    if (!std::holds_alternative<source_message>(event)) return;
    std::ofstream(path, std::ios::binary | std::ios::app) << std::string(50'000, 'x');
  };
  check_complete(run_dump(A::kind, start_for(path, small_block, 4), hooks), image, small_block);
}

// ---- Servers that are not as they should be -----------------------------------------------------

TEST_CASE_TEMPLATE("the agent ends when the server goes away", A, native_agent, python_agent) {
  scratch_folder const folder;
  auto const path = folder.file("image", random_bytes(500 * small_block, 19));
  SUBCASE("before START") {
    server_hooks hooks;
    hooks.after = [](server_script& server, server_session::event const&) {
      server.hang_up = true;
    };
    CHECK(run_dump(A::kind, start_for(path, small_block), hooks).exit_status == 1);
  }
  SUBCASE("in the middle of the image, blocks waiting") {
    server_hooks hooks;
    hooks.decide = [](auto, auto const&) { return verdict::wait; };
    hooks.after = [](server_script& server, server_session::event const&) {
      if (!server.waiting.empty()) server.hang_up = true;
    };
    CHECK(run_dump(A::kind, start_for(path, small_block, 16), hooks).exit_status == 1);
  }
  SUBCASE("while blocks are being sent") {
    server_hooks hooks;
    hooks.after = [](server_script& server, server_session::event const& event) {
      if (std::holds_alternative<block_received>(event)) server.hang_up = true;
    };
    CHECK(run_dump(A::kind, start_for(path, small_block, 16), hooks).exit_status == 1);
  }
}

TEST_CASE_TEMPLATE("SIGTERM and SIGHUP end the agent", A, native_agent, python_agent) {
  scratch_folder const folder;
  auto const path = folder.file("image", random_bytes(100 * small_block, 20));
  for (int const number : {SIGTERM, SIGHUP}) {
    server_hooks hooks;
    hooks.decide = [](auto, auto const&) { return verdict::wait; };
    hooks.after = [&](server_script& server, server_session::event const&) {
      if (!server.waiting.empty()) ::kill(server.agent.pid(), number);
    };
    CHECK(run_dump(A::kind, start_for(path, small_block, 16), hooks).exit_status == -number);
  }
}

TEST_CASE_TEMPLATE("garbage from the server ends the agent with an ABORT", A, native_agent,
                   python_agent) {
  scratch_folder const folder;
  auto const path = folder.file("image", random_bytes(100 * small_block, 21));
  byte_vector garbage;
  SUBCASE("an unknown kind") { garbage = {std::byte{1}, {}, {}, {}, std::byte{99}, std::byte{0}}; }
  SUBCASE("a frame of 4 GiB") { garbage = byte_vector(5, std::byte{0xff}); }
  SUBCASE("a frame far too long for its kind") {
    garbage = {{}, {}, {}, std::byte{0x10}, std::byte{65}};
  }
  SUBCASE("more answers than there are blocks") {
    encode(garbage, answer_message{block_index{0}, std::vector<verdict>(200, verdict::have)});
  }
  SUBCASE("an answer for another block") {
    encode(garbage, answer_message{block_index{70}, {verdict::have}});
  }
  SUBCASE("a settled block that never waited") {
    encode(garbage, settle_message{block_index{3}, verdict::have});
  }
  SUBCASE("START a second time") { encode(garbage, start_for(path, small_block)); }
  SUBCASE("DONE before END") { encode_done(garbage); }
  server_hooks hooks;
  hooks.decide = [](auto, auto const&) { return verdict::wait; };
  hooks.after = [&](server_script& server, server_session::event const& event) {
    if (std::holds_alternative<digests_message>(event)) {
      append_bytes(server.raw_output, std::exchange(garbage, {}));
    }
  };
  auto const record = run_dump(A::kind, start_for(path, small_block, 16), hooks);
  CHECK(record.failure_code == wire_errc::aborted_by_peer);
  CHECK_MESSAGE(contains(record.failure, "protocol"), record.failure);
  CHECK(record.exit_status == 1);
}

TEST_CASE_TEMPLATE("an ABORT of the server ends the agent", A, native_agent, python_agent) {
  scratch_folder const folder;
  auto const path = folder.file("image", random_bytes(100 * small_block, 22));
  server_hooks hooks;
  hooks.decide = [](auto, auto const&) { return verdict::wait; };
  hooks.after = [&](server_script& server, server_session::event const& event) {
    if (std::holds_alternative<digests_message>(event)) {
      server.session.abort(abort_code::cancelled, "enough");
    }
  };
  CHECK(run_dump(A::kind, start_for(path, small_block, 16), hooks).exit_status == 1);
}

TEST_CASE_TEMPLATE("options of START are accepted together", A, native_agent, python_agent) {
  scratch_folder const folder;
  auto const image = random_bytes(100 * small_block, 23);
  auto start = start_for(folder.file("image", image), small_block);
  start.low_priority = true;
  start.skip_bad_sectors = true;
  start.threads_max = 1;
  start.read_limit_bytes_per_s = 100 * limits::MiB;
  check_complete(run_dump(A::kind, start), image, small_block);
}

TEST_SUITE_END();

}  // namespace
}  // namespace diskdump
