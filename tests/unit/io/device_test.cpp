// Real block devices: loop devices with sectors of 512 and 4096 bytes, where the test may have
// them.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <memory>
#include <string>

#include "async/run_task.hpp"
#include "base/format.hpp"
#include "disk_conformance.hpp"
#include "io/device_use.hpp"
#include "io/disk.hpp"
#include "io/io_errc.hpp"
#include "scratch.hpp"

namespace diskdump {

namespace {

// The output of a command, or nothing where it failed.
std::string output_of(std::string const& command) {
  std::FILE* const pipe = ::popen((command + " 2>/dev/null").c_str(), "r");
  if (pipe == nullptr) return {};
  std::string text;
  char chunk[256];
  while (std::fgets(chunk, sizeof chunk, pipe) != nullptr) text += chunk;
  if (::pclose(pipe) != 0) return {};
  while (text.ends_with('\n')) text.pop_back();
  return text;
}
bool runs(std::string const& command) {
  return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

class loop_device {
 public:
  loop_device(std::string const& file, unsigned sector_bytes) {
    if (::geteuid() != 0) return;
    path_ = output_of(format("losetup --find --show --sector-size {} {}", sector_bytes, file));
  }
  ~loop_device() {
    if (!path_.empty()) (void)runs("losetup --detach " + path_);
  }
  loop_device(loop_device const&) = delete;
  loop_device& operator=(loop_device const&) = delete;
  [[nodiscard]] std::string const& path() const noexcept { return path_; }

 private:
  std::string path_;
};

class mounted {
 public:
  mounted(std::string const& device, std::string point) : point_(std::move(point)) {
    good_ = runs("mkdir -p '" + point_ + "'") && runs("mkfs.ext4 -q -F " + device) &&
            runs("mount " + device + " '" + point_ + "'");
  }
  ~mounted() {
    if (good_) (void)runs("umount '" + point_ + "'");
  }
  mounted(mounted const&) = delete;
  mounted& operator=(mounted const&) = delete;
  [[nodiscard]] bool good() const noexcept { return good_; }

 private:
  std::string point_;
  bool good_ = false;
};

void write_image(std::string const& path, byte_vector const& content) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(as_text(content).data(), static_cast<std::streamsize>(content.size()));
}

// A disk on a loop device that goes with it.
class device_disk final : public disk {
 public:
  device_disk(std::unique_ptr<loop_device> device, std::unique_ptr<disk> inner)
      : device_(std::move(device)), inner_(std::move(inner)) {}
  disk_properties const& properties() const noexcept override { return inner_->properties(); }
  task<std::size_t> read(std::uint64_t at, std::span<byte_span const> buffers) override {
    return inner_->read(at, buffers);
  }
  task<> write(std::uint64_t at, byte_view bytes) override { return inner_->write(at, bytes); }
  task<bool> write_zeros(std::uint64_t at, std::uint64_t length) override {
    return inner_->write_zeros(at, length);
  }
  data_range next_data(std::uint64_t at) override { return inner_->next_data(at); }
  task<> sync() override { return inner_->sync(); }

 private:
  std::unique_ptr<loop_device> device_;
  std::unique_ptr<disk> inner_;
};

disk_maker device_maker(scratch_directory& dir, unsigned sector_bytes, engine_choice engine,
                        bool direct) {
  disk_maker maker;
  maker.whole_sectors = true;
  maker.make = [&dir, sector_bytes, engine, direct](asio::io_context& loop, worker_pool& pool,
                                                    byte_vector const& content) {
    write_image(dir / "backing", content);
    auto device = std::make_unique<loop_device>(dir / "backing", sector_bytes);
    REQUIRE_FALSE(device->path().empty());
    disk_open_options options;
    options.access = disk_access::write;
    options.engine = engine;
    options.direct_io = direct;
    auto opened = open_disk(loop.get_executor(), pool, device->path(), options);
    auto const& p = opened->properties();
    CHECK(p.block_device);
    CHECK(p.identity.find("backing_file=") != std::string::npos);
    if (direct) {
      CHECK(p.direct_io);
      CHECK(p.alignment_bytes >= sector_bytes);
      CHECK(p.sector_bytes >= sector_bytes);
    } else {
      CHECK(p.alignment_bytes == 1);
    }
    return std::make_unique<device_disk>(std::move(device), std::move(opened));
  };
  return maker;
}

bool loop_devices_work(unsigned sector_bytes) {
  scratch_directory dir;
  write_image(dir / "backing", byte_vector(1 << 20));
  loop_device const device(dir / "backing", sector_bytes);
  if (!device.path().empty()) return true;
  MESSAGE("skipped: no loop device with sectors of ", sector_bytes, " bytes here");
  return false;
}

}  // namespace

TEST_SUITE("device") {
  TEST_CASE("a device with sectors of 512 bytes conforms, O_DIRECT and io_uring") {
    if (!loop_devices_work(512) || !uring_available()) return;
    scratch_directory dir;
    disk_conformance(device_maker(dir, 512, engine_choice::automatic, true));
  }
  TEST_CASE("a device with sectors of 4096 bytes conforms, O_DIRECT and io_uring") {
    if (!loop_devices_work(4096) || !uring_available()) return;
    scratch_directory dir;
    disk_conformance(device_maker(dir, 4096, engine_choice::automatic, true));
  }
  TEST_CASE("a device with sectors of 4096 bytes conforms, O_DIRECT and posix") {
    if (!loop_devices_work(4096)) return;
    scratch_directory dir;
    disk_conformance(device_maker(dir, 4096, engine_choice::posix_only, true));
  }
  TEST_CASE("a buffered device conforms") {
    if (!loop_devices_work(512)) return;
    scratch_directory dir;
    disk_conformance(device_maker(dir, 512, engine_choice::automatic, false));
  }

  TEST_CASE("a mounted device is read but not written, and the mount point is named") {
    if (!loop_devices_work(512)) return;
    scratch_directory dir;
    write_image(dir / "backing", byte_vector(8 << 20));
    loop_device const device(dir / "backing", 512);
    auto const point = dir / "a mount point";
    mounted const in_use(device.path(), point);
    if (!in_use.good()) {
      MESSAGE("skipped: cannot make or mount a file system here");
      return;
    }
    asio::io_context loop;
    worker_pool pool(1);
    CHECK(open_disk(loop.get_executor(), pool, device.path())->properties().size_bytes == 8 << 20);
    disk_open_options options;
    options.access = disk_access::write;
    try {
      (void)open_disk(loop.get_executor(), pool, device.path(), options);
      FAIL("opened a mounted device for writing");
    } catch (error const& e) {
      CHECK(e.code() == io_errc::in_use);
      CHECK(e.path() == device.path());
      CHECK(e.cause().find(point) != std::string::npos);
    }
  }

  TEST_CASE("a device that is being written is not opened for writing again") {
    if (!loop_devices_work(512)) return;
    scratch_directory dir;
    write_image(dir / "backing", byte_vector(1 << 20));
    loop_device const device(dir / "backing", 512);
    asio::io_context loop;
    worker_pool pool(1);
    disk_open_options options;
    options.access = disk_access::write;
    auto const first = open_disk(loop.get_executor(), pool, device.path(), options);
    try {
      (void)open_disk(loop.get_executor(), pool, device.path(), options);
      FAIL("opened twice");
    } catch (error const& e) {
      CHECK(e.code() == io_errc::in_use);
    }
  }

  TEST_CASE("a device without a medium is refused") {
    if (!loop_devices_work(512)) return;
    auto const unused = output_of("losetup --find");
    asio::io_context loop;
    worker_pool pool(1);
    try {
      (void)open_disk(loop.get_executor(), pool, unused);
      FAIL("opened");
    } catch (error const& e) {
      CHECK(e.code() == io_errc::no_medium);
    }
  }
}

TEST_SUITE("device_use") {
  TEST_CASE("mountinfo is parsed with its escapes and optional fields") {
    auto const mounts = parse_mountinfo(
        "36 35 98:0 /mnt1 /mnt\\0402/x rw,noatime master:1 shared:2 - ext3 /dev/root rw\n"
        "37 35 0:42 / /data rw - btrfs /dev/sda1 rw\n"
        "garbage\n"
        "1 2 x:y / / rw - a b c\n"
        "38 35 8:17 / / rw -\n");
    REQUIRE(mounts.size() == 2);
    CHECK(mounts[0].device_major == 98);
    CHECK(mounts[0].mount_point == "/mnt 2/x");
    CHECK(mounts[0].source == "/dev/root");
    CHECK(mounts[1].device_major == 0);
    CHECK(mounts[1].device_minor == 42);
    CHECK(mounts[1].source == "/dev/sda1");
  }
  TEST_CASE("swaps are parsed without their heading") {
    auto const swaps = parse_swaps(
        "Filename\t\t\tType\t\tSize\tUsed\tPriority\n"
        "/dev/sda2                               partition\t1000\t0\t-2\n"
        "/swap\\040file file 1 0 -3\n");
    REQUIRE(swaps.size() == 2);
    CHECK(swaps[0] == "/dev/sda2");
    CHECK(swaps[1] == "/swap file");
  }
  TEST_CASE("files are never in use") {
    scratch_directory dir;
    write_image(dir / "file", byte_vector(10));
    refuse_if_in_use(dir / "file");
    refuse_if_in_use(dir / "absent");
  }
}

}  // namespace diskdump
