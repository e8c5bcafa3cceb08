// Both agents keep the read limit of START, and follow LIMIT.
#include <doctest/doctest.h>

#include "agent_driver.hpp"
#include "base/limits.hpp"

namespace diskdump {
namespace {

TEST_SUITE_BEGIN("read limit");

TEST_CASE_TEMPLATE("a read limit is kept", A, native_agent, python_agent) {
  scratch_folder const folder;
  auto const image = random_bytes(64 * small_block, 24);
  auto start = small_start(folder.file("image", image), limits::batch_blocks_default);
  start.read_limit_bytes_per_s = 128 * small_block;
  auto const record = run_dump(A::kind, start);
  check_complete(record, image, small_block);
  CHECK(record.elapsed >= std::chrono::milliseconds(300));
}

TEST_CASE_TEMPLATE("a read limit that changes on the way is followed", A, native_agent,
                   python_agent) {
  scratch_folder const folder;
  auto const image = random_bytes(64 * small_block, 25);
  auto start = small_start(folder.file("image", image), 64);
  // One block in 4 s: without the change it would take four minutes.
  start.read_limit_bytes_per_s = small_block / 4;
  server_hooks hooks;
  hooks.after = [](server_script& server, server_session::event const& event) {
    if (std::holds_alternative<source_message>(event)) server.session.limit_read(0);
  };
  auto const record = run_dump(A::kind, start, hooks);
  check_complete(record, image, small_block);
  CHECK(record.elapsed < std::chrono::seconds(60));
}

TEST_CASE_TEMPLATE("a read limit that is set on the way is kept", A, native_agent, python_agent) {
  scratch_folder const folder;
  auto const image = random_bytes(64 * small_block, 26);
  // Of a batch of 16, at most 16 blocks are read before the server answers.
  auto const start = small_start(folder.file("image", image), 16);
  server_hooks hooks;
  hooks.after = [](server_script& server, server_session::event const& event) {
    if (std::holds_alternative<source_message>(event)) server.session.limit_read(64 * small_block);
  };
  auto const record = run_dump(A::kind, start, hooks);
  check_complete(record, image, small_block);
  CHECK(record.elapsed >= std::chrono::milliseconds(300));
}

TEST_SUITE_END();

}  // namespace
}  // namespace diskdump
