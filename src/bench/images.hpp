// The images that a benchmark dumps, as files in its folder: synthetic ones, or a copy of a file
// that a person named, which itself is only read. Zeros are holes. Blocking; one thread at a time.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "bench/workload.hpp"

namespace diskdump {

// How far a long piece of work is, and whether it shall end; any thread.
struct bench_progress {
  std::atomic<std::uint64_t> done_bytes{0};
  std::atomic<std::uint64_t> total_bytes{0};
  std::atomic<bool> stop{false};
};

class bench_images {
 public:
  // For synthetic images. Writes nothing yet.
  explicit bench_images(workload_options const& options);
  // For a copy of `source`, cut into blocks; what `options` says of shares is only for what
  // changes. Throws unsuitable_source, or what the system says.
  bench_images(std::string source, workload_options const& options);

  // Makes the files in `folder`. Ends early where `progress.stop` is set; what there is then is not
  // to be used. Throws what the system says.
  void write(std::string const& folder, bench_progress& progress);

  // Gives so much of all blocks of data (of a copy: of all blocks) a new content, in the files.
  void change(double percent, bench_progress& progress);

  [[nodiscard]] std::vector<std::string> const& paths() const noexcept { return paths_; }
  [[nodiscard]] std::uint64_t image_bytes() const noexcept { return image_bytes_; }
  [[nodiscard]] block_geometry geometry() const noexcept {
    return {image_bytes_, options_.block_bytes};
  }
  // What lz4 takes off synthetic contents, measured; none for a copy.
  [[nodiscard]] std::optional<double> saved_percent() const noexcept;

  // What a dump of all images has to count. None for a copy, whose blocks nobody has looked at.
  struct expectation {
    std::uint64_t zeros = 0;      // blocks
    std::uint64_t data = 0;       // blocks that are not zeros
    std::uint64_t fresh = 0;      // contents that no dump has seen
    std::uint64_t abandoned = 0;  // contents that only earlier dumps have
  };
  [[nodiscard]] std::optional<expectation> const& expected() const noexcept { return expected_; }
  // A dump has seen the files as they are.
  void dumped();
  // The files shall be as they were made, for the next store.
  void rewind(bench_progress& progress);

  // What is in the files that is no hole, and of it what a store takes at most, uncompressed.
  [[nodiscard]] std::uint64_t data_bytes() const noexcept;
  [[nodiscard]] std::uint64_t distinct_bytes() const noexcept;

 private:
  void write_synthetic(bench_progress& progress);
  void copy_source(bench_progress& progress);
  enum class content : std::uint8_t { made, of_source };
  void write_blocks(std::vector<workload::place> const& places, content what,
                    bench_progress& progress);

  workload_options options_;
  std::optional<std::string> source_;
  std::uint64_t image_bytes_;
  workload original_;  // what the files held as they were made
  workload plan_;      // and now; of a copy: each block something of its own
  content_maker maker_;
  std::vector<workload::place> changed_;
  std::vector<std::string> paths_;
  std::optional<expectation> expected_;
};

}  // namespace diskdump
