#include "io/disk.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "async/run_task.hpp"
#include "disk_conformance.hpp"
#include "io/fault_disk.hpp"
#include "io/io_errc.hpp"
#include "io/memory_disk.hpp"
#include "scratch.hpp"

namespace diskdump {

namespace {

// Zeros are left out, so that they become holes.
void write_file(std::string const& path, byte_vector const& content) {
  std::ofstream out(path, std::ios::binary);
  for (std::size_t at = 0; at < content.size(); at += 4096) {
    auto const n = std::min<std::size_t>(4096, content.size() - at);
    auto const page = byte_view(content).subspan(at, n);
    if (std::all_of(page.begin(), page.end(), [](std::byte b) { return b == std::byte{0}; })) {
      continue;
    }
    out.seekp(static_cast<std::streamoff>(at));
    out.write(as_text(page).data(), static_cast<std::streamsize>(n));
  }
  out.close();
  REQUIRE(::truncate(path.c_str(), static_cast<off_t>(content.size())) == 0);
}

disk_maker file_maker(scratch_directory& dir, engine_choice engine, disk_engine expected) {
  disk_maker maker;
  maker.make = [&dir, engine, expected](asio::io_context& loop, worker_pool& pool,
                                        byte_vector const& content) {
    auto const path = dir / "image";
    write_file(path, content);
    disk_open_options options;
    options.access = disk_access::write;
    options.engine = engine;
    options.queue_depth = 8;
    auto opened = open_disk(loop.get_executor(), pool, path, options);
    REQUIRE(opened->properties().engine == expected);
    CHECK(opened->properties().alignment_bytes == 1);
    CHECK(opened->properties().identity.starts_with("inode="));
    return opened;
  };
  return maker;
}

error open_failure(std::string const& path, disk_access access = disk_access::read) {
  asio::io_context loop;
  worker_pool pool(1);
  disk_open_options options;
  options.access = access;
  try {
    (void)open_disk(loop.get_executor(), pool, path, options);
  } catch (error const& e) {
    return e;
  }
  FAIL("opened");
  std::abort();
}

}  // namespace

TEST_SUITE("disk") {
  TEST_CASE("uring conforms") {
    if (!uring_available()) {
      MESSAGE("skipped: no io_uring here");
      return;
    }
    scratch_directory dir;
    disk_conformance(file_maker(dir, engine_choice::automatic, disk_engine::uring));
  }

  TEST_CASE("posix conforms") {
    scratch_directory dir;
    disk_conformance(file_maker(dir, engine_choice::posix_only, disk_engine::posix));
  }

  TEST_CASE("memory conforms") {
    disk_maker maker;
    maker.make = [](asio::io_context&, worker_pool&, byte_vector const& content) {
      return std::make_unique<memory_disk>(content);
    };
    disk_conformance(maker);
  }

  TEST_CASE("memory that asks for an alignment conforms") {
    disk_maker maker;
    maker.whole_sectors = true;
    maker.make = [](asio::io_context&, worker_pool&, byte_vector const& content) {
      disk_properties shape;
      shape.alignment_bytes = 512;
      return std::make_unique<memory_disk>(content, shape);
    };
    disk_conformance(maker);
  }

  TEST_CASE("a fault disk without faults conforms") {
    disk_maker maker;
    maker.make = [](asio::io_context& loop, worker_pool&, byte_vector const& content) {
      return std::make_unique<fault_disk>(loop.get_executor(),
                                          std::make_unique<memory_disk>(content));
    };
    disk_conformance(maker);
  }

  TEST_CASE("what is no disk is refused with its path, a reason and a remedy") {
    scratch_directory dir;
    CHECK(open_failure(dir / "absent").code() == io_errc::not_found);
    CHECK(open_failure(dir.path()).code() == io_errc::is_directory);
    CHECK(open_failure("/dev/null").code() == io_errc::unsupported_type);
    REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
    auto const fifo = open_failure(dir / "fifo");
    CHECK(fifo.code() == io_errc::unsupported_type);
    CHECK(fifo.path() == dir / "fifo");
    CHECK_FALSE(fifo.remedy().empty());
  }

  TEST_CASE("a file that may not be read is refused") {
    if (::geteuid() == 0) {
      MESSAGE("skipped: root may read everything");
      return;
    }
    scratch_directory dir;
    write_file(dir / "image", byte_vector(10));
    REQUIRE(::chmod((dir / "image").c_str(), 0) == 0);
    CHECK(open_failure(dir / "image").code() == io_errc::no_permission);
  }

  TEST_CASE("an empty file is an empty disk") {
    scratch_directory dir;
    write_file(dir / "image", {});
    asio::io_context loop;
    worker_pool pool(1);
    auto const d = open_disk(loop.get_executor(), pool, dir / "image");
    CHECK(d->properties().size_bytes == 0);
    CHECK(d->next_data(0).length_bytes == 0);
    std::byte byte{};
    byte_span const buffer(&byte, 1);
    CHECK(run_task(loop, d->read(0, std::span(&buffer, 1))) == 0);
  }

  TEST_CASE("a created file has its size, no data, and is not created twice") {
    scratch_directory dir;
    asio::io_context loop;
    worker_pool pool(1);
    auto const d = create_file_disk(loop.get_executor(), pool, dir / "new", 1 << 20);
    CHECK(d->properties().size_bytes == 1 << 20);
    CHECK(d->next_data(0).length_bytes == 0);
    CHECK_THROWS_AS((void)create_file_disk(loop.get_executor(), pool, dir / "new", 1), error);
    try {
      (void)create_file_disk(loop.get_executor(), pool, dir / "huge", UINT64_MAX / 2);
      FAIL("no system has files that large");
    } catch (error const& e) {
      CHECK(e.path() == dir / "huge");
    }
    CHECK(::access((dir / "huge").c_str(), F_OK) != 0);
  }
}

}  // namespace diskdump
