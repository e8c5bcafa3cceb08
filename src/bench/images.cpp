#include "bench/images.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "bench/bench_errc.hpp"
#include "io/io_errc.hpp"
#include "io/unique_fd.hpp"

namespace diskdump {

namespace {

unique_fd open_file(std::string const& path, int flags) {
  constexpr mode_t for_us_alone = 0600;
  unique_fd file(::open(path.c_str(), flags | O_CLOEXEC, for_us_alone));
  if (!file) throw disk_error(errno, io_direction::open, "open", path);
  return file;
}

void write_at(unique_fd const& file, std::string const& path, std::uint64_t offset_bytes,
              byte_view bytes) {
  while (!bytes.empty()) {
    auto const n =
        ::pwrite(file.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset_bytes));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw disk_error(errno, io_direction::write, "pwrite", path).offset(offset_bytes);
    offset_bytes += static_cast<std::uint64_t>(n);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
}

// Fewer bytes only at the end of the file.
std::size_t read_at(unique_fd const& file, std::string const& path, std::uint64_t offset_bytes,
                    byte_span out) {
  std::size_t done = 0;
  while (done < out.size()) {
    auto const n = ::pread(file.get(), out.data() + done, out.size() - done,
                           static_cast<off_t>(offset_bytes + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw disk_error(errno, io_direction::read, "pread", path).offset(offset_bytes);
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

void set_size(unique_fd const& file, std::string const& path, std::uint64_t bytes) {
  if (::ftruncate(file.get(), static_cast<off_t>(bytes)) != 0) {
    throw disk_error(errno, io_direction::write, "ftruncate", path);
  }
}

// As of a source, its size; of others, as it was asked for.
std::uint64_t size_of(std::string const& source) {
  struct stat status{};
  if (::stat(source.c_str(), &status) != 0) {
    throw disk_error(errno, io_direction::open, "stat", source);
  }
  auto const refuse = [&](std::string_view cause) {
    return error(bench_errc::unsuitable_source, severity::permanent)
        .path(source)
        .cause(cause)
        .remedy("name an image file; it is copied, and stays as it is");
  };
  if (!S_ISREG(status.st_mode)) throw refuse("it is not a regular file");
  if (status.st_size == 0) throw refuse("it is empty");
  return static_cast<std::uint64_t>(status.st_size);
}

workload_options options_for(std::uint64_t bytes, std::string const& source, workload_options o) {
  auto const blocks = block_geometry{bytes, o.block_bytes}.blocks().value;
  if (blocks > limits::bench_blocks_max) {
    throw error(bench_errc::unsuitable_source, severity::permanent)
        .path(source)
        .cause(format("it has {} blocks, a benchmark takes {} at most", blocks,
                      limits::bench_blocks_max))
        .remedy("use a larger --block-size, or a part of it");
  }
  o.image_bytes = blocks * o.block_bytes;
  o.images = 1;
  o.zeros_percent = 0;
  o.dedup_percent = 0;
  return o;
}

}  // namespace

bench_images::bench_images(workload_options const& options)
    : options_(options),
      image_bytes_(options.image_bytes),
      original_(options),
      plan_(original_),
      maker_(options) {
  auto const c = plan_.count();
  expected_ = {.zeros = c.zeros, .data = c.data(), .fresh = c.distinct, .abandoned = 0};
}

bench_images::bench_images(std::string source, workload_options const& options)
    : options_(options_for(size_of(source), source, options)),
      source_(std::move(source)),
      image_bytes_(size_of(*source_)),
      original_(options_),
      plan_(original_),
      maker_(options_) {}

std::optional<double> bench_images::saved_percent() const noexcept {
  if (source_) return std::nullopt;
  return maker_.saved_percent();
}

std::uint64_t bench_images::data_bytes() const noexcept {
  return original_.count().data() * options_.block_bytes;
}

std::uint64_t bench_images::distinct_bytes() const noexcept {
  return original_.count().distinct * options_.block_bytes;
}

void bench_images::write(std::string const& folder, bench_progress& progress) {
  for (std::size_t i = 0; i < original_.images().size(); ++i) {
    paths_.push_back(format("{}/image-{}", folder, i + 1));
  }
  progress.done_bytes = 0;
  progress.total_bytes = image_bytes_ * paths_.size();
  source_ ? copy_source(progress) : write_synthetic(progress);
}

void bench_images::write_synthetic(bench_progress& progress) {
  auto const block_bytes = options_.block_bytes;
  byte_vector buffer(std::max<std::size_t>(limits::bench_write_bytes, block_bytes));
  for (std::size_t image = 0; image < paths_.size(); ++image) {
    auto const& path = paths_[image];
    auto const file = open_file(path, O_WRONLY | O_CREAT | O_EXCL);
    set_size(file, path, image_bytes_);
    auto const& blocks = original_.images()[image];
    for (std::size_t i = 0; i < blocks.size() && !progress.stop;) {
      // Neighbours are written together; holes stay holes.
      auto const first = i;
      std::size_t filled = 0;
      for (; i < blocks.size() && blocks[i] != 0 && filled + block_bytes <= buffer.size(); ++i) {
        maker_.fill(blocks[i], byte_span(buffer).subspan(filled, block_bytes));
        filled += block_bytes;
      }
      write_at(file, path, first * block_bytes, byte_view(buffer).first(filled));
      while (i < blocks.size() && blocks[i] == 0) ++i;
      progress.done_bytes += (i - first) * block_bytes;
    }
  }
}

void bench_images::copy_source(bench_progress& progress) {
  auto const from = open_file(*source_, O_RDONLY);
  auto const& path = paths_.front();
  auto const to = open_file(path, O_WRONLY | O_CREAT | O_EXCL);
  set_size(to, path, image_bytes_);
  byte_vector buffer(limits::bench_write_bytes);
  auto const end = static_cast<off_t>(image_bytes_);
  for (off_t at = 0; at < end && !progress.stop;) {
    // Holes stay holes, where the file system tells of them.
    auto const data = ::lseek(from.get(), at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;
    if (data >= 0) at = data;
    auto const n = read_at(from, *source_, static_cast<std::uint64_t>(at),
                           byte_span(buffer).first(std::min<std::size_t>(
                               buffer.size(), static_cast<std::size_t>(end - at))));
    if (n == 0) break;
    write_at(to, path, static_cast<std::uint64_t>(at), byte_view(buffer).first(n));
    at += static_cast<off_t>(n);
    progress.done_bytes = static_cast<std::uint64_t>(at);
  }
}

void bench_images::write_blocks(std::vector<workload::place> const& places, content what,
                                bench_progress& progress) {
  byte_vector buffer(options_.block_bytes);
  std::vector<unique_fd> files;
  for (auto const& path : paths_) files.push_back(open_file(path, O_WRONLY));
  auto const source = what == content::of_source ? open_file(*source_, O_RDONLY) : unique_fd();
  progress.done_bytes = 0;
  progress.total_bytes = places.size() * std::uint64_t{options_.block_bytes};
  for (auto const& p : places) {
    if (progress.stop) return;
    auto const offset = geometry().offset_bytes(p.block);
    auto const out = byte_span(buffer).first(geometry().length_bytes(p.block));
    if (what == content::of_source) {
      std::fill(out.begin(), out.end(), std::byte{0});
      static_cast<void>(read_at(source, *source_, offset, out));
    } else {
      maker_.fill(plan_.images()[p.image][p.block.value], out);
    }
    write_at(files[p.image], paths_[p.image], offset, out);
    progress.done_bytes += options_.block_bytes;
  }
}

void bench_images::change(double percent, bench_progress& progress) {
  auto const change = plan_.change_percent(percent);
  changed_.insert(changed_.end(), change.blocks.begin(), change.blocks.end());
  write_blocks(change.blocks, content::made, progress);
  if (expected_) {
    expected_->fresh = change.blocks.size();
    expected_->abandoned = change.abandoned;
  }
}

void bench_images::dumped() {
  if (expected_) expected_->fresh = 0;
}

void bench_images::rewind(bench_progress& progress) {
  plan_ = original_;
  write_blocks(changed_, source_ ? content::of_source : content::made, progress);
  changed_.clear();
  if (expected_) {
    expected_->fresh = plan_.count().distinct;
    expected_->abandoned = 0;
  }
}

}  // namespace diskdump
