// What the agent alone does, with a server that answers everything the same and looks at nothing:
// agent_bench PATH have|need [none|lz4|zlib] [BLOCK_BYTES BATCH_BLOCKS] [native|python]
// Prints rate, CPU time and peak memory. Not a test: figures are in agent/README.md.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "agent_driver.hpp"
#include "base/limits.hpp"

int main(int argc, char** argv) {
  using namespace diskdump;
  if (argc < 3) return 2;
  doctest::Context context;  // the driver's checks hold here as well
  context.setAsDefaultForAssertsOutOfTestCases();
  context.setAssertHandler([](doctest::AssertData const&) { std::abort(); });
  auto const word = [&](int i) { return std::string_view(argc > i ? argv[i] : ""); };
  start_message start;
  start.path = argv[1];
  start.codec = word(3) == "none"   ? codec_policy::none
                : word(3) == "zlib" ? codec_policy::zlib
                                    : codec_policy::lz4;
  start.block_bytes =
      argc > 4 ? static_cast<std::uint32_t>(std::atoi(argv[4])) : limits::block_bytes_default;
  start.batch_blocks =
      argc > 5 ? static_cast<std::uint32_t>(std::atoi(argv[5])) : limits::batch_blocks_default;
  auto const kind = word(6) == "python" ? agent_kind::python : agent_kind::native;
  auto const answer = word(2) == "have" ? verdict::have : verdict::need;
  std::chrono::milliseconds cpu{};
  server_hooks hooks;
  hooks.decide = [&](block_index, block_id const&) { return answer; };
  hooks.after = [&](server_script& server, server_session::event const& event) {
    if (std::holds_alternative<ended>(event)) cpu = server.agent.cpu_time();
  };
  hooks.keep_blocks = false;
  hooks.check_blocks = false;
  auto const record = run_dump(kind, start, hooks);
  if (!record.end) {
    std::fprintf(stderr, "%s\n", record.failure.c_str());
    return 1;
  }
  auto const seconds = std::chrono::duration<double>(record.elapsed).count();
  auto const megabytes = static_cast<double>(record.end->read_bytes) / 1e6;
  std::printf("%.0f MB in %.3f s: %.0f MB/s; CPU %.3f s; peak RSS %.1f MiB; sent %.0f MB\n",
              megabytes, seconds, megabytes / seconds, std::chrono::duration<double>(cpu).count(),
              static_cast<double>(record.peak_rss_bytes) / static_cast<double>(limits::MiB),
              static_cast<double>(record.payload_bytes) / 1e6);
  return 0;
}
