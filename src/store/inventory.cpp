#include "store/inventory.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <mutex>

#include "base/format.hpp"
#include "codec/digest.hpp"
#include "store/block_marks.hpp"
#include "store/lease.hpp"
#include "store/manifest_name.hpp"
#include "store/run_parallel.hpp"
#include "store/store_parts.hpp"

namespace diskdump {

namespace {

namespace fs = std::filesystem;

// Bits of a block in block_marks.
constexpr std::uint8_t in_manifest = 1;  // by the image at hand, or by any manifest
constexpr std::uint8_t shared = 2;       // by another manifest as well
constexpr std::uint8_t in_store = 4;     // the store has it
constexpr std::uint8_t is_list = 8;

// A row of blocks.db takes about so much, and a look-up of one block with the size of its file
// about as long as reading so many rows in order.
constexpr std::uint64_t index_bytes_per_row = 150;
constexpr std::uint64_t rows_per_lookup = 20;

using block_sink = std::function<void(block_id const&, std::uint64_t stored_bytes)>;

// Calls `each` for every block of `marks` that the store holds, with its stored size, and marks it
// as held. Either all rows are read in order or each block is looked up, whatever is less work.
class size_survey {
 public:
  size_survey(store_parts& parts, block_marks& marks) : parts_(parts), marks_(marks) {}

  void run(block_sink const& each) {
    std::error_code none;
    auto const index_bytes = fs::file_size(index_path(parts_.blockstore, parts_.format), none);
    if (none) {
      // What lies there is all that is known.
      parts_.shelf->walk(
          [&](stored_block const& block) { found(block.id, block.stored_bytes, each); });
      return;
    }
    if (index_bytes / index_bytes_per_row < marks_.size() * rows_per_lookup) scan(each);
    look_up(each);
  }

 private:
  void found(block_id const& id, std::uint64_t bytes, block_sink const& each) {
    if (!marks_.contains(id)) return;
    marks_.add(id, in_store);
    each(id, bytes);
  }

  void scan(block_sink const& each) {
    parts_.index->list([&](stored_block const& row) { found(row.id, row.stored_bytes, each); });
  }

  // What was not seen yet: after a scan only blocks that are missing or condemned.
  void look_up(block_sink const& each) {
    std::vector<block_id> unseen;
    marks_.for_each([&](block_id const& id, std::uint8_t bits) {
      if ((bits & in_store) == 0) unseen.push_back(id);
    });
    std::sort(unseen.begin(), unseen.end());
    for (std::size_t at = 0; at < unseen.size(); at += limits::index_rows_per_step) {
      auto const step =
          std::span(unseen).subspan(at, std::min(unseen.size() - at, limits::index_rows_per_step));
      for (auto const& row : parts_.index->rows_of(step, true)) {
        if (row) found(row->id, row->stored_bytes, each);
      }
    }
  }

  store_parts& parts_;
  block_marks& marks_;
};

// Reads the manifests of a store to their ends on several threads; one that cannot be read is
// noted.
void read_all(std::string const& base, std::vector<manifest_entry> const& entries, unsigned threads,
              work_monitor& monitor, std::vector<unread_manifest>& unread,
              std::function<void(manifest_entry const&, manifest_reader&)> const& each) {
  std::mutex mutex;
  list_source const lists(base);
  run_parallel(entries.size(), threads, [&](std::size_t i) {
    try {
      manifest_reader reader(base + "/" + entries[i].path, lists);
      each(entries[i], reader);
    } catch (error const& failure) {
      // Gone meanwhile: not there, not damaged.
      bool const gone = is_gone(failure);
      std::lock_guard const lock(mutex);
      if (!gone) unread.push_back({entries[i].path, failure.what()});
    }
    ++monitor.done;
  });
  std::sort(unread.begin(), unread.end(),
            [](auto const& a, auto const& b) { return a.path < b.path; });
}

// Hands every block of a manifest to `each`, but not those of full lists that are in `known`, to
// which those that were read are added. `list` is told every list.
template <class Each, class List>
void for_each_block(manifest_reader& reader, block_marks& known, work_monitor const& monitor,
                    Each&& each, List&& list) {
  if (!reader.has_lists()) {
    for (block_index at; auto const id = reader.next(); ++at) {
      if (monitor.stop) return;
      each(*id, at);
    }
  }
  while (auto const found = reader.next_list()) {
    if (monitor.stop) return;
    list(found->id);
    bool const can_be_full = found->blocks.value == limits::list_digests_max;
    if (can_be_full && known.contains(found->id)) continue;
    auto at = found->first;
    for (auto const& id : reader.read_list()) {
      each(id, at);
      ++at;
    }
    if (can_be_full) (void)known.add(found->id);
  }
}

bool same_file(std::string const& a, std::string const& b) {
  struct stat first{};
  struct stat second{};
  return ::stat(a.c_str(), &first) == 0 && ::stat(b.c_str(), &second) == 0 &&
         first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

// The ids of the zero blocks of an image: a full one, and the last.
class zero_ids {
 public:
  explicit zero_ids(block_geometry const& geometry) {
    auto const blocks = geometry.blocks().value;
    if (blocks == 0) return;
    full_ = zero_block_id(geometry.block_bytes);
    last_ = zero_block_id(geometry.length_bytes({blocks - 1}));
  }
  [[nodiscard]] bool contains(block_id const& id) const { return id == full_ || id == last_; }

 private:
  block_id full_;
  block_id last_;
};

// Marks the image's blocks.
void read_own(std::string const& base, std::string const& path, image_usage& usage,
              block_marks& marks, work_monitor& monitor) {
  manifest_reader reader(path, list_source(base));
  zero_ids const zeros(reader.header().geometry);
  while (auto const list = reader.next_list()) {
    if (monitor.stop) return;
    if (marks.add(list->id, in_manifest | is_list) == 0) ++usage.lists.blocks;
    for (auto const& id : reader.read_list()) {
      usage.blocks_zero += zeros.contains(id) ? 1 : 0;
      usage.blocks_distinct += marks.add(id, in_manifest) == 0 ? 1 : 0;
    }
  }
  while (!reader.has_lists()) {
    auto const id = reader.next();
    if (!id) break;
    if (monitor.stop) return;
    usage.blocks_zero += zeros.contains(*id) ? 1 : 0;
    usage.blocks_distinct += marks.add(*id, in_manifest) == 0 ? 1 : 0;
  }
  usage.header = reader.header();
  usage.file_bytes = reader.file_bytes();
}

// Marks those of the image's blocks that other manifests name.
void read_others(std::string const& base, std::string const& path, unsigned threads,
                 work_monitor& monitor, block_marks& marks, image_usage& usage) {
  auto others = list_manifests(base, [&](std::string const& other, error const& failure) {
    usage.others_unread.push_back({other, failure.what()});
  });
  std::erase_if(others,
                [&](manifest_entry const& e) { return same_file(base + "/" + e.path, path); });
  monitor.enter("reading manifests", others.size());
  block_marks known;
  auto const share = [&](block_id const& id) {
    auto const bits = marks.of(id);
    if ((bits & in_manifest) != 0 && (bits & shared) == 0) marks.add(id, shared);
  };
  read_all(base, others, threads, monitor, usage.others_unread,
           [&](manifest_entry const&, manifest_reader& reader) {
             for_each_block(
                 reader, known, monitor, [&](block_id const& id, block_index) { share(id); },
                 share);
           });
}

}  // namespace

std::optional<std::int64_t> manifest_moment(manifest_entry const& entry) {
  if (auto const seconds = iso_seconds(entry.header.date)) return seconds;
  // "2026/04/24/…" in the dated layout; nothing like it in the other.
  auto day = entry.path.substr(0, 10);
  std::replace(day.begin(), day.end(), '/', '-');
  return iso_seconds(day);
}

image_usage measure_image(std::string const& base, std::string const& path, unsigned threads,
                          work_monitor& monitor) {
  auto parts = open_parts(base, {.read_only = true});
  image_usage usage;
  block_marks marks;
  monitor.enter("reading the manifest");
  read_own(base, path, usage, marks, monitor);
  read_others(base, path, threads, monitor, marks, usage);
  if (monitor.stop) return usage;

  monitor.enter("reading the index");
  size_survey(parts, marks).run([&](block_id const& id, std::uint64_t bytes) {
    auto const bits = marks.of(id);
    bool const unique = (bits & shared) == 0;
    if ((bits & is_list) != 0) {
      usage.lists.stored_bytes += bytes;
      if (unique) usage.lists_unique.stored_bytes += bytes;
      return;
    }
    usage.stored_bytes += bytes;
    if (unique) usage.stored_bytes_unique += bytes;
  });
  marks.for_each([&](block_id const&, std::uint8_t bits) {
    usage.blocks_missing += (bits & in_store) == 0 ? 1 : 0;
    if ((bits & is_list) != 0) {
      if ((bits & shared) == 0) ++usage.lists_unique.blocks;
      return;
    }
    ++((bits & shared) != 0 ? usage.blocks_shared : usage.blocks_unique);
  });
  return usage;
}

store_usage measure_store(std::string const& base, unsigned threads, work_monitor& monitor) {
  auto parts = open_parts(base, {.read_only = true});
  store_usage usage;
  usage.properties = parts.properties;
  usage.manifests = list_manifests(base, [&](std::string const& path, error const& failure) {
    usage.damaged.push_back({path, failure.what()});
  });

  block_marks marks;
  block_marks known;
  std::atomic<std::uint64_t> content_bytes{0};
  std::atomic<std::uint64_t> lists{0};
  monitor.enter("reading manifests", usage.manifests.size());
  read_all(base, usage.manifests, threads, monitor, usage.damaged,
           [&](manifest_entry const& entry, manifest_reader& reader) {
             auto const geometry = entry.header.geometry;
             std::uint64_t content = 0;
             for_each_block(
                 reader, known, monitor,
                 [&](block_id const& id, block_index at) {
                   if (marks.add(id, in_manifest) == 0) content += geometry.length_bytes(at);
                 },
                 [&](block_id const& id) {
                   if (marks.add(id, in_manifest | is_list) == 0) ++lists;
                 });
             content_bytes += content;
           });
  for (auto const& e : usage.manifests) usage.image_bytes += e.header.geometry.image_bytes;
  usage.lists.blocks = lists;
  usage.blocks_named = marks.size() - lists;
  usage.content_bytes = content_bytes;
  if (monitor.stop) return usage;

  monitor.enter("reading the index");
  store_stats held_named;
  size_survey(parts, marks).run([&](block_id const& id, std::uint64_t bytes) {
    if ((marks.of(id) & is_list) != 0) usage.lists.stored_bytes += bytes;
    held_named += {1, bytes};
  });
  usage.blocks_missing = marks.size() - held_named.blocks;
  usage.stored = parts.index->stats();
  for (auto const& c : parts.index->collections()) {
    usage.condemned += c.condemned;
  }
  if (usage.stored.blocks == 0) usage.stored = held_named;
  usage.unnamed.blocks = usage.stored.blocks - std::min(usage.stored.blocks, held_named.blocks);
  usage.unnamed.stored_bytes =
      usage.stored.stored_bytes - std::min(usage.stored.stored_bytes, held_named.stored_bytes);

  for (auto const& id : held_leases(base)) {
    if (auto purpose = lease_purpose(base, id); !purpose.empty()) {
      usage.running.push_back(std::move(purpose));
    }
  }
  usage.quarantined = parts.files->list_directory(parts.layout.in("quarantine")).size();
  std::error_code unknown;
  if (auto const space = fs::space(parts.blockstore, unknown); !unknown) {
    usage.free_bytes = space.available;
  }
  return usage;
}

}  // namespace diskdump
