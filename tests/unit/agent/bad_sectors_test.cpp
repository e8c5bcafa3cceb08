// Sources that cannot be read everywhere. The native agent's stages have their own tests, on disks
// that fail (stage_test.cpp); here the Python agent has a pread() that fails, and both have a loop
// device that does.
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "agent_driver.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "loop_device.hpp"

namespace diskdump {
namespace {

constexpr std::uint32_t block = small_block;
constexpr std::uint64_t sector = limits::sector_bytes_min;
static_assert(sector == 512, "the failing pread() counts these");

start_message start_for(std::string path, bool skip_bad_sectors) {
  auto start = small_start(std::move(path), 64);
  start.skip_bad_sectors = skip_bad_sectors;
  return start;
}

void zero(byte_vector& image, std::uint64_t offset, std::uint64_t length) {
  std::fill_n(image.begin() + static_cast<std::ptrdiff_t>(offset), length, std::byte{0});
}

// As the server keeps them: parts that touch are one.
std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges_of(dump_record const& record) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  for (auto const& part : record.bad_ranges) {
    if (!ranges.empty() && ranges.back().first + ranges.back().second == part.offset_bytes) {
      ranges.back().second += part.length_bytes;
    } else {
      ranges.emplace_back(part.offset_bytes, part.length_bytes);
    }
  }
  return ranges;
}

// Bytes behind each other that cannot be read, for agent_options::read_errno.
std::string unreadable(std::vector<std::pair<std::uint64_t, std::uint64_t>> const& ranges) {
  std::string any = "0";
  for (auto const& [offset, length] : ranges) {
    any += format(" or {} <= sector < {}", offset / sector, (offset + length) / sector);
  }
  return format("5 if {} else 0", any);
}

TEST_SUITE_BEGIN("bad sectors");

// The session refuses ranges that go back, or come after the DIGESTS of their blocks.
TEST_CASE("the Python agent skips bad sectors, and tells them in order, before their blocks") {
  scratch_folder const folder;
  auto image = random_bytes(300 * block + 700, 1);
  auto const path = folder.file("image", image);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> bad{
      {0, sector},                        // the first
      {9 * block - sector, 2 * sector},   // across the border of two blocks
      {16 * block - sector, 2 * sector},  // and of two groups
      {64 * block, 70 * block},           // more than a batch
      {200 * block + sector, sector},     // two in a block
      {200 * block + 3 * sector, 2 * sector},
      {300 * block, 700},  // the last block, with less than a sector at its end
  };
  agent_options options;
  options.read_errno = unreadable({bad.begin(), bad.end() - 1}) +
                       format(" or 5 * (sector >= {})", 300 * block / sector);
  auto const record = run_dump(agent_kind::python, start_for(path, true), {}, options);
  for (auto const& [offset, length] : bad) zero(image, offset, length);
  check_complete(record, image, block);
  CHECK(ranges_of(record) == bad);
}

TEST_CASE("without leave to skip, the first bad sector ends the Python agent's dump") {
  scratch_folder const folder;
  auto const path = folder.file("image", random_bytes(100 * block, 2));
  auto const offset = 40 * block + 3 * sector;
  agent_options options;
  options.read_errno = unreadable({{offset, sector}, {50 * block, sector}});
  auto const record = run_dump(agent_kind::python, start_for(path, false), {}, options);
  CHECK(record.failure_code == wire_errc::aborted_by_peer);
  CHECK(record.failure_offset == offset);
  CHECK_MESSAGE(record.failure.find(format("{}+512", offset)) != std::string::npos, record.failure);
  CHECK(record.bad_ranges.empty());
  CHECK(record.exit_status == 1);
}

TEST_CASE("a read that fails for want of memory is no bad sector for the Python agent") {
  scratch_folder const folder;
  auto const path = folder.file("image", random_bytes(100 * block, 2));
  agent_options options;
  options.read_errno = format("12 if sector == {} else 0", 40 * block / sector);  // ENOMEM
  auto const record = run_dump(agent_kind::python, start_for(path, true), {}, options);
  CHECK(record.failure_code == wire_errc::aborted_by_peer);
  CHECK_FALSE(record.end.has_value());
  CHECK(record.bad_ranges.empty());
}

TEST_CASE("the Python agent tells as many bad ranges as may be, and ends with one more") {
  scratch_folder const folder;
  auto const sectors = 2 * limits::bad_ranges_max;
  auto image = random_bytes((sectors + 2) * sector, 3);
  auto const path = folder.file("image", image);
  agent_options options;
  options.read_errno = format("5 if sector % 2 and sector < {} else 0", sectors);
  auto const record = run_dump(agent_kind::python, start_for(path, true), {}, options);
  for (std::uint64_t i = 1; i < sectors; i += 2) zero(image, i * sector, sector);
  check_complete(record, image, block);
  CHECK(ranges_of(record).size() == limits::bad_ranges_max);

  options.read_errno = "5 if sector % 2 else 0";
  auto const one_more = run_dump(agent_kind::python, start_for(path, true), {}, options);
  CHECK(one_more.failure_code == wire_errc::aborted_by_peer);
  CHECK_MESSAGE(one_more.failure.find("bad ranges") != std::string::npos, one_more.failure);
  CHECK_FALSE(one_more.end.has_value());
}

TEST_CASE("a device that is gone is no bad sector to the Python agent, whenever it goes") {
  scratch_folder const folder;
  auto const path = folder.file("image", random_bytes(100 * block, 4));
  agent_options options;
  options.read_errno = format("6 if sector >= {} else 0", 40 * block / sector);
  auto const at_once = run_dump(agent_kind::python, start_for(path, true), {}, options);
  CHECK(at_once.failure_code == wire_errc::aborted_by_peer);
  CHECK(at_once.failure_offset == 40 * block);
  // While the readable sectors around a bad one are looked for.
  options.read_errno = format("(5 if sector == {} else 6) if sector >= {} else 0",
                              40 * block / sector, 40 * block / sector);
  auto const meanwhile = run_dump(agent_kind::python, start_for(path, true), {}, options);
  CHECK(meanwhile.failure_code == wire_errc::aborted_by_peer);
  CHECK(meanwhile.failure_offset == 40 * block + sector);
  CHECK_MESSAGE(meanwhile.failure.find("No such device") != std::string::npos, meanwhile.failure);
  CHECK_FALSE(meanwhile.end.has_value());
}

TEST_CASE_TEMPLATE("a device that really fails is dumped up to there, and has zeros behind", A,
                   native_agent, python_agent) {
  scratch_folder const folder;
  auto image = random_bytes(64 * block, 5);
  auto const path = folder.file("image", image);
  loop_device const device(path);
  if (device.path.empty()) {
    MESSAGE("skipped: no loop device can be made here");
    return;
  }
  // The device keeps its size. What the kernel makes of the rest is its own affair: newer ones
  // fail.
  std::uint64_t const readable = 41 * block;
  REQUIRE(::truncate(path.c_str(), static_cast<off_t>(readable)) == 0);
  device.drop_cache();
  if (device.reads(readable)) {
    MESSAGE("skipped: here a loop device reads zeros behind the end of its file");
    return;
  }
  auto const refused = run_dump(A::kind, start_for(device.path, false));
  CHECK(refused.failure_code == wire_errc::aborted_by_peer);
  CHECK_MESSAGE(refused.failure_offset == readable, refused.failure);
  auto const record = run_dump(A::kind, start_for(device.path, true));
  zero(image, readable, image.size() - readable);
  check_complete(record, image, block);
  REQUIRE(ranges_of(record).size() == 1);
  CHECK(ranges_of(record).front() == std::pair{readable, image.size() - readable});
}

TEST_SUITE_END();

}  // namespace
}  // namespace diskdump
