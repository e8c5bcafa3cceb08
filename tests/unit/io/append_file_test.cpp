// What a file that is added to does with a descriptor for direct writes.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/error.hpp"
#include "base/limits.hpp"
#include "io/io_errc.hpp"
#include "io/posix_append_file.hpp"
#include "scratch.hpp"

namespace diskdump {

namespace {

byte_vector numbered(std::size_t size_bytes) {
  byte_vector bytes(size_bytes);
  for (std::size_t i = 0; i < size_bytes; ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 253);
  return bytes;
}

unique_fd create(std::string const& path) {
  unique_fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  REQUIRE(file);
  return file;
}

byte_vector content(std::string const& path) {
  unique_fd const file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status{};
  REQUIRE(::fstat(file.get(), &status) == 0);
  byte_vector bytes(static_cast<std::size_t>(status.st_size));
  REQUIRE(::pread(file.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  return bytes;
}

constexpr std::size_t page_bytes = limits::direct_write_alignment_bytes;

}  // namespace

TEST_SUITE("append_file") {
  TEST_CASE("large pieces go where direct writes go, but for the pages at their ends") {
    scratch_directory const folder;
    auto const bytes = numbered(2 * limits::early_write_back_bytes_min + 5);
    {
      // Two files, to see which part went where.
      posix_append_file file(create(folder / "cached"), "cached", write_back::early,
                             create(folder / "direct"), std::make_shared<direct_buffer>());
      file.append(byte_view(bytes).first(100));
      file.append(byte_view(bytes).subspan(100));
      file.sync();
    }
    auto const end = bytes.size() / page_bytes * page_bytes;
    auto cached = content(folder / "cached");
    auto const direct = content(folder / "direct");
    REQUIRE(direct.size() == end);
    REQUIRE(cached.size() == bytes.size());
    CHECK(std::equal(direct.begin() + page_bytes, direct.end(), bytes.begin() + page_bytes));
    std::copy(direct.begin() + page_bytes, direct.end(), cached.begin() + page_bytes);
    CHECK(cached == bytes);
  }

  TEST_CASE("small pieces, and those that have time, go through the page_bytes cache") {
    scratch_directory const folder;
    auto const bytes = numbered(3 * limits::early_write_back_bytes_min);
    auto const small = limits::early_write_back_bytes_min - 1;
    {
      posix_append_file early(create(folder / "early"), "early", write_back::early,
                              create(folder / "early direct"), std::make_shared<direct_buffer>());
      early.append(byte_view(bytes).first(small));
      posix_append_file late(create(folder / "late"), "late", write_back::late, unique_fd(),
                             nullptr);
      late.append(bytes);
    }
    CHECK(content(folder / "early").size() == small);
    CHECK(content(folder / "early direct").empty());
    CHECK(content(folder / "late") == bytes);
  }

  TEST_CASE("where direct writes are refused after all, the page_bytes cache takes everything") {
    scratch_directory const folder;
    auto const bytes = numbered(2 * limits::early_write_back_bytes_min + 5);
    {
      // What is no number is refused with EINVAL.
      unique_fd refusing(::open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC));
      REQUIRE(refusing);
      posix_append_file file(create(folder / "a"), "a", write_back::early, std::move(refusing),
                             std::make_shared<direct_buffer>());
      file.append(byte_view(bytes).first(1));
      file.append(byte_view(bytes).subspan(1));
    }
    CHECK(content(folder / "a") == bytes);
  }

  TEST_CASE("a full disk is told, with the file's name") {
    scratch_directory const folder;
    auto const bytes = numbered(limits::early_write_back_bytes_min);
    unique_fd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
    REQUIRE(full);
    posix_append_file file(create(folder / "a"), "store/a", write_back::early, std::move(full),
                           std::make_shared<direct_buffer>());
    try {
      file.append(bytes);
      FAIL("written");
    } catch (error const& failure) {
      CHECK(failure.code() == io_errc::no_space);
      CHECK(failure.path() == "store/a");
    }
  }
}

}  // namespace diskdump
