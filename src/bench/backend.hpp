// A store as a benchmark has it: on a disk in a folder of its own, opened anew for each verb as the
// program does; or in this process, with a folder for manifests alone. Blocking; one thread at a
// time.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "bench/folders.hpp"
#include "bench/run.hpp"
#include "store/block_store.hpp"
#include "store/lease.hpp"

namespace diskdump {

class bench_backend {
 public:
  // `scratch` outlives it. Throws as store_folder.
  bench_backend(bench_store_choice choice, std::uint32_t block_bytes, std::string const& scratch,
                std::size_t number, bool keep);

  [[nodiscard]] std::string const& name() const noexcept { return choice_.name; }
  // DIR, where manifests appear.
  [[nodiscard]] std::string const& base() const noexcept { return base_; }

  [[nodiscard]] bool gives_back() const noexcept;  // restore
  [[nodiscard]] bool has_upkeep() const noexcept;  // verify, gc
  [[nodiscard]] bool remembers() const noexcept;   // a second dump finds the blocks of the first

  // How many lists of digests the manifest of such an image names.
  [[nodiscard]] std::uint64_t lists_of(block_count blocks) const noexcept;

  // The store until close(), with a lease where others could collect in it.
  block_store& open_for_dump();
  block_store& open_for_restore();
  void close();

  // Of the store as it is. REQUIRES: close() on a disk.
  [[nodiscard]] store_stats stats();
  [[nodiscard]] std::optional<store_folder::usage> disk_usage() const;

 private:
  [[nodiscard]] bool is_on_disk() const noexcept;

  bench_store_choice choice_;
  std::uint32_t block_bytes_;
  std::optional<store_folder> folder_;  // on a disk
  std::string base_;
  std::unique_ptr<block_store> store_;  // on a disk: while it is open
  std::optional<dump_lease> lease_;
};

}  // namespace diskdump
