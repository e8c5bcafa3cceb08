#include "bench/backend.hpp"

#include <filesystem>

#include "base/format.hpp"
#include "store/null_store.hpp"

namespace diskdump {

namespace {

constexpr char const* purpose = "benchmark";

}  // namespace

bench_backend::bench_backend(bench_store_choice choice, std::uint32_t block_bytes,
                             std::string const& scratch, std::size_t number, bool keep)
    : choice_(std::move(choice)), block_bytes_(block_bytes) {
  if (is_on_disk()) {
    folder_.emplace(choice_.folder, keep);
    base_ = choice_.folder;
    return;
  }
  base_ = format("{}/manifests-{}", scratch, number);
  std::filesystem::create_directories(base_ + "/.blockstore");
  store_ = choice_.backend == bench_backend_kind::memory
               ? make_memory_store(block_bytes_)
               : make_null_store(block_bytes_, choice_.null_keeps);
}

bool bench_backend::is_on_disk() const noexcept {
  return choice_.backend == bench_backend_kind::loose ||
         choice_.backend == bench_backend_kind::pack;
}

bool bench_backend::gives_back() const noexcept {
  return choice_.backend != bench_backend_kind::null;
}

bool bench_backend::has_upkeep() const noexcept { return is_on_disk(); }

std::uint64_t bench_backend::lists_of(block_count blocks) const noexcept {
  if (choice_.backend != bench_backend_kind::pack) return 0;
  return (blocks.value + limits::list_digests_max - 1) / limits::list_digests_max;
}

bool bench_backend::remembers() const noexcept {
  return choice_.backend != bench_backend_kind::null || choice_.null_keeps == null_memory::ids;
}

block_store& bench_backend::open_for_dump() {
  if (is_on_disk()) {
    store_open_options options;
    options.create_block_bytes = block_bytes_;
    options.create_format =
        choice_.backend == bench_backend_kind::pack ? store_format::pack : store_format::loose;
    store_ = open_store(base_, options);
    lease_.emplace(base_, purpose);
  }
  return *store_;
}

block_store& bench_backend::open_for_restore() {
  if (is_on_disk()) {
    store_ = open_store(base_, {.read_only = true});
    lease_.emplace(base_, purpose);
  }
  return *store_;
}

void bench_backend::close() {
  if (!is_on_disk()) return;
  lease_.reset();
  store_.reset();
}

store_stats bench_backend::stats() {
  return is_on_disk() ? open_store(base_, {.read_only = true})->stats() : store_->stats();
}

std::optional<store_folder::usage> bench_backend::disk_usage() const {
  if (!folder_) return std::nullopt;
  return folder_->count();
}

}  // namespace diskdump
