// What only the native agent promises: its verbs, its engines, its memory.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "agent/embedded.hpp"
#include "agent_driver.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "codec/compress.hpp"
#include "loop_device.hpp"

namespace diskdump {
namespace {

TEST_SUITE_BEGIN("native agent");

std::string whole_file(std::string const& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

TEST_CASE("probe prints the digest of the program's own file") {
  auto const [status, text] = shell(native_agent_path() + " probe");
  CHECK(status == 0);
  CHECK(text == sha256(as_bytes(whole_file(native_agent_path()))).hex() + "\n");
}

TEST_CASE("the embedded agent is the one that was built, with its true digest") {
  auto const images = embedded_agents();
  REQUIRE(images.native.size() == 1);
  auto const& native = images.native.front();
  auto const file = whole_file(native_agent_path());
  CHECK(as_text(native.content) == file);
  CHECK(native.digest == sha256(native.content));
  CHECK(native.machine == shell("uname -m").second.substr(0, native.machine.size()));
  CHECK(images.fallback_script == whole_file(fallback_path()));
}

TEST_CASE("anything but probe and serve is a usage error") {
  for (auto const* arguments : {"", "probe x", "serve", "serve 12", "serve zz", "help"}) {
    auto const [status, text] = shell(native_agent_path() + " " + arguments + " 2>&1 </dev/null");
    CHECK_MESSAGE(status == 2, arguments);
    CHECK(text.find("usage:") != std::string::npos);
  }
}

TEST_CASE("a stdin that is no server is refused with words") {
  struct input {
    char const* redirection;
    char const* words;
  };
  for (auto const& [redirection, words] :
       {input{"</dev/null", "before START"}, {"</etc/passwd", "a frame"}, {"<&-", "descriptor"}}) {
    // stdout is a pipe that is drained; the words are on stderr, the status behind them.
    auto const [ignored, text] =
        shell("{ { " + native_agent_path() + " serve " + std::string(32, 'a') + " 2>&3 " +
              redirection + "; echo status $? >&3; } | cat >/dev/null; } 3>&1");
    static_cast<void>(ignored);
    CHECK_MESSAGE(text.find(words) != std::string::npos, text);
    CHECK_MESSAGE(text.find("status 1") != std::string::npos, text);
  }
}

TEST_CASE("without io_uring the posix engine reads the same") {
  scratch_folder const folder;
  auto const image = random_bytes(3'000'001, 1);
  start_message start;
  start.path = folder.file("image", image);
  start.block_bytes = limits::block_bytes_default;
  start.batch_blocks = 20;
  auto const record = run_dump(agent_kind::native, start, {}, {.without_uring = true});
  check_complete(record, image, start.block_bytes);
  CHECK(record.hello->engine == read_engine::posix);
}

TEST_CASE("a block device is read past the page cache, by either engine and by the Python agent") {
  scratch_folder const folder;
  auto image = random_bytes(3 * limits::MiB, 5);
  image.resize(image.size() + 2 * limits::MiB);
  append_bytes(image, text_bytes(7 * 512, 6));  // no whole number of blocks
  loop_device const device(folder.file("image", image));
  if (device.path.empty()) {
    MESSAGE("skipped: no loop device can be made here");
    return;
  }
  start_message start;
  start.path = device.path;
  start.block_bytes = limits::block_bytes_default;
  start.batch_blocks = 20;
  for (bool const without_uring : {false, true}) {
    auto const record = run_dump(agent_kind::native, start, {}, {.without_uring = without_uring});
    check_complete(record, image, start.block_bytes);
    CHECK(record.source->type == source_type::block_device);
    CHECK(record.source->direct_io);
    CHECK(record.source->alignment_bytes >= limits::sector_bytes_min);
  }
  check_complete(run_dump(agent_kind::python, start), image, start.block_bytes);
}

std::string identity_told_by(agent_kind kind, std::string const& path) {
  start_message start;
  start.path = path;
  start.block_bytes = limits::block_bytes_default;
  start.batch_blocks = 20;
  auto const record = run_dump(kind, start);
  REQUIRE_MESSAGE(record.source.has_value(), record.failure);
  return record.source->identity;
}

TEST_CASE("the Python agent names a source as the native one does, so that either continues") {
  scratch_folder const folder;
  auto const plain = folder.file("plain", text_bytes(1000, 1));
  auto const same = identity_told_by(agent_kind::native, plain);
  CHECK(same.find("inode=") == 0);
  CHECK(identity_told_by(agent_kind::python, plain) == same);
  auto const other = folder.file("other", text_bytes(1000, 1));
  CHECK(identity_told_by(agent_kind::python, other) != same);

  // The name of a loop device's file is part of what the device is: blanks, controls, bytes that
  // are no text, and more than fits.
  for (auto const& name : {std::string("image"), std::string("a b\tc\x1b\xff\xc3\xa9 \t"),
                           std::string("one\ntwo"), std::string(200, 'x')}) {
    auto const file = folder.file(name, text_bytes(4096, 1));
    loop_device const device(file);
    if (device.path.empty()) {
      MESSAGE("skipped: no loop device can be made here");
      return;
    }
    auto const expected = identity_told_by(agent_kind::native, device.path);
    CHECK(expected.find("dev=") == 0);
    CHECK(expected.find(" backing_file=/") != std::string::npos);
    CHECK(identity_told_by(agent_kind::python, device.path) == expected);
  }
}

TEST_CASE("memory is one batch and 16 MiB at most, or 10 MiB and what one large block takes") {
  if (sanitized_build()) {
    MESSAGE("skipped: a sanitizer has memory of its own");
    return;
  }
  scratch_folder const folder;
  auto image = text_bytes(64 * limits::MiB, 2);
  append_bytes(image, random_bytes(32 * limits::MiB, 3));
  auto const path = folder.file("image", image);
  struct shape {
    std::uint32_t block_bytes;
    std::uint32_t batch_blocks;
  };
  for (auto const [block_bytes, batch_blocks] :
       {shape{limits::block_bytes_default, limits::batch_blocks_default},
        shape{limits::block_bytes_min, 2560}, shape{1 * limits::MiB, 16},
        shape{limits::block_bytes_default, 1}, shape{8 * limits::MiB, 2},
        shape{limits::block_bytes_max, 2}}) {
    for (auto const policy : {codec_policy::lz4, codec_policy::zlib}) {
      start_message start;
      start.path = path;
      start.block_bytes = block_bytes;
      start.batch_blocks = batch_blocks;
      start.codec = policy;
      auto const record = run_dump(agent_kind::native, start, {.keep_blocks = false});
      CHECK_MESSAGE(record.failure.empty(), record.failure);
      auto const batch = std::uint64_t{block_bytes} * batch_blocks;
      auto const over = static_cast<double>(record.peak_rss_bytes) - static_cast<double>(batch);
      MESSAGE("blocks of ", block_bytes, " x ", batch_blocks, ", policy ", static_cast<int>(policy),
              ": peak RSS ", record.peak_rss_bytes / limits::KiB, " KiB, batch ",
              batch / limits::KiB, " KiB");
      CHECK(record.peak_rss_bytes > 0);
      auto const lane = lz4_frame_bytes_max(block_bytes) + limits::compressor_state_bytes;
      auto const bound = limits::agent_overhead_bytes_max +
                         std::max<std::size_t>(limits::compress_memory_bytes_max, lane);
      CHECK(over <= static_cast<double>(bound));
    }
  }
}

TEST_CASE("a server that answers late but reads nothing does not block the agent's ears") {
  // Both pipes are full of data at some time: the agent must go on reading answers.
  scratch_folder const folder;
  auto const image = random_bytes(32 * limits::MiB, 4);
  start_message start;
  start.path = folder.file("image", image);
  start.block_bytes = limits::block_bytes_min;
  start.batch_blocks = 4096;
  start.codec = codec_policy::none;
  check_complete(run_dump(agent_kind::native, start), image, start.block_bytes);
}

TEST_SUITE_END();

}  // namespace
}  // namespace diskdump
