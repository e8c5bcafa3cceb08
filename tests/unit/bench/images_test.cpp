#include "bench/images.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "base/error.hpp"
#include "bench/bench_errc.hpp"
#include "bench/folders.hpp"
#include "codec/digest.hpp"

namespace diskdump {

namespace {

constexpr std::uint32_t block_bytes = 4096;

workload_options small_options() {
  return {.image_bytes = 500 * std::uint64_t{block_bytes},
          .block_bytes = block_bytes,
          .zeros_percent = 20,
          .dedup_percent = 25,
          .compressibility_percent = 50,
          .images = 2,
          .seed = 3};
}

std::string content_of(std::string const& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct counted {
  std::uint64_t zeros = 0, data = 0;
  std::set<block_id> ids;
};
counted count_blocks(std::vector<std::string> const& paths) {
  counted c;
  for (auto const& path : paths) {
    auto const text = content_of(path);
    for (std::size_t at = 0; at < text.size(); at += block_bytes) {
      auto const block = as_bytes(std::string_view(text).substr(at, block_bytes));
      if (is_zero(block)) {
        ++c.zeros;
      } else {
        ++c.data;
        c.ids.insert(sha256(block));
      }
    }
  }
  return c;
}

}  // namespace

TEST_SUITE("bench images") {
  TEST_CASE("the files hold what the plan says, with zeros as holes") {
    image_folder const folder("/tmp");
    bench_images images(small_options());
    bench_progress progress;
    images.write(folder.path(), progress);
    REQUIRE(images.paths().size() == 2);
    auto const c = count_blocks(images.paths());
    REQUIRE(images.expected());
    CHECK(c.zeros == 200);
    CHECK(c.zeros == images.expected()->zeros);
    CHECK(c.data == images.expected()->data);
    CHECK(c.ids.size() == 600);
    CHECK(c.ids.size() == images.expected()->fresh);
    CHECK(std::filesystem::file_size(images.paths()[0]) == 500 * block_bytes);
    struct stat status{};
    REQUIRE(::stat(images.paths()[0].c_str(), &status) == 0);
    CHECK(status.st_blocks * 512 < 450 * std::int64_t{block_bytes});
  }

  TEST_CASE("a change is in the files, and goes away again for the next store") {
    image_folder const folder("/tmp");
    bench_images images(small_options());
    bench_progress progress;
    images.write(folder.path(), progress);
    auto const before = count_blocks(images.paths());
    auto const first = content_of(images.paths()[0]);
    images.dumped();
    CHECK(images.expected()->fresh == 0);
    images.change(5, progress);
    auto const after = count_blocks(images.paths());
    std::uint64_t fresh = 0, abandoned = 0;
    for (auto const& id : after.ids) fresh += before.ids.contains(id) ? 0 : 1;
    for (auto const& id : before.ids) abandoned += after.ids.contains(id) ? 0 : 1;
    CHECK(fresh == 40);
    CHECK(fresh == images.expected()->fresh);
    CHECK(abandoned == images.expected()->abandoned);
    CHECK(after.zeros == before.zeros);
    images.rewind(progress);
    CHECK(content_of(images.paths()[0]) == first);
    CHECK(images.expected()->fresh == before.ids.size());
    CHECK(images.expected()->abandoned == 0);
  }

  TEST_CASE("a copy is changed, its source is not") {
    image_folder const folder("/tmp");
    auto const source = folder.path() + "/source";
    std::string content(10 * block_bytes + 100, 'x');
    for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i % 251);
    std::ofstream(source, std::ios::binary) << content;
    bench_images images(source, small_options());
    CHECK(images.image_bytes() == content.size());
    CHECK_FALSE(images.expected());
    CHECK_FALSE(images.saved_percent());
    bench_progress progress;
    images.write(folder.path(), progress);
    REQUIRE(images.paths().size() == 1);
    CHECK(content_of(images.paths()[0]) == content);
    images.change(50, progress);
    auto const changed = content_of(images.paths()[0]);
    CHECK(changed.size() == content.size());
    CHECK(changed != content);
    CHECK(content_of(source) == content);
    images.rewind(progress);
    CHECK(content_of(images.paths()[0]) == content);
  }

  TEST_CASE("what is no image file is refused, with what to do") {
    image_folder const folder("/tmp");
    auto const refused = [&](std::string const& path) {
      try {
        bench_images const images(path, small_options());
        return std::string();
      } catch (error const& e) {
        return std::string(e.what());
      }
    };
    CHECK(refused(folder.path()).find("regular file") != std::string::npos);
    CHECK(refused("/dev/null").find("regular file") != std::string::npos);
    CHECK(refused(folder.path() + "/absent").find("absent") != std::string::npos);
    std::ofstream(folder.path() + "/empty").flush();
    CHECK(refused(folder.path() + "/empty").find("empty") != std::string::npos);
  }

  TEST_CASE("one that is told to stop ends at once") {
    image_folder const folder("/tmp");
    bench_images images(small_options());
    bench_progress progress;
    progress.stop = true;
    images.write(folder.path(), progress);
    CHECK(progress.done_bytes == 0);
  }
}

}  // namespace diskdump
