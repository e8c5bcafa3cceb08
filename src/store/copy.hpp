// Copies images from one store to another, of whatever formats: the blocks that the other one
// lacks, each verified before it is put, then the manifest, which keeps its name, its date, its day
// and its lines. Blocking; blocks are brought by several threads. Memory:
// limits::copy_blocks_per_lookup ids with their places, one block per thread, and 66 bytes for each
// list of the images copied.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "store/block_marks.hpp"
#include "store/manifest.hpp"
#include "store/monitor.hpp"

namespace diskdump {

// An open store and its DIR. `files`, rooted at DIR, is where a manifest is written; nullptr: the
// real one.
struct opened_store {
  std::string base;
  block_store& store;
  file_system* files = nullptr;
};

struct image_copy {
  enum class kind : std::uint8_t { copied, present, failed, stopped } outcome = kind::failed;
  std::string
      path;  // of the manifest in the other store, relative to its DIR; none where it failed
  std::uint64_t image_bytes = 0;
  std::uint64_t blocks = 0;         // of the image
  std::uint64_t blocks_copied = 0;  // that the other store lacked
  std::uint64_t stored_bytes_copied = 0;
  std::string why;  // it failed
};

// Throws where both are one store, or their blocks differ in size: then block_size_differs.
void check_can_copy(opened_store const& from, std::string const& to_base);
void check_same_block_size(opened_store const& from, opened_store const& to);

// One thread at a time uses it; both stores outlive it. The caller holds a lease of each.
class image_copier {
 public:
  // Reads the headers of the other store's manifests.
  image_copier(opened_store from, opened_store to, unsigned threads, work_monitor& monitor);

  // Copies the image of the manifest at `path`, as find_manifest() gave it. When it returns, the
  // manifest and all that it names are durable in the other store, or it has an equal one, or why
  // not stands in the result: a block that is damaged or missing, with its place in the image, and
  // a manifest that cannot be read. The monitor's counters go on by the image's blocks and bytes;
  // `stop` ends it between two look-ups and leaves no manifest. Throws what the other store throws.
  [[nodiscard]] image_copy copy(std::string const& path);

 private:
  struct place {
    block_id id;
    block_index first;  // in the image
  };

  [[nodiscard]] image_copy copy_image(std::string const& path);
  [[nodiscard]] std::optional<std::string> find_equal(std::string const& path,
                                                      std::string const& name);
  [[nodiscard]] bool is_equal(std::string const& path, std::string const& other) const;
  bool copy_blocks(manifest_reader& reader, manifest_writer& writer, image_copy& result);
  void bring(std::vector<place> const& blocks, manifest_reader const& reader, image_copy& result);
  [[nodiscard]] byte_vector read_verified(place const& block, manifest_reader const& reader);

  opened_store from_;
  opened_store to_;
  unsigned threads_;
  work_monitor& monitor_;
  // By name: the manifests of the other store.
  std::multimap<std::string, manifest_entry> there_;
  // Full lists of the first store whose blocks the other one has by now.
  block_marks brought_;
};

}  // namespace diskdump
