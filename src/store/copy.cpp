#include "store/copy.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <unordered_set>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "io/file_system.hpp"
#include "store/block_check.hpp"
#include "store/manifest_name.hpp"
#include "store/run_parallel.hpp"

namespace diskdump {

namespace {

// What a manifest's path says: its name, and the day whose folder it is in.
struct manifest_place {
  std::string name;
  std::string day;  // "2026-04-24"; none in the layout of 0.1.x, or where a person moved it
};

manifest_place place_of(std::string const& path) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at <= path.size();) {
    auto const slash = std::min(path.find('/', at), path.size());
    parts.push_back(path.substr(at, slash - at));
    at = slash + 1;
  }
  auto const n = parts.size();
  auto stem = parts.back();
  if (stem.ends_with(manifest_suffix)) stem.resize(stem.size() - manifest_suffix.size());
  manifest_place found{parse_manifest_stem(stem).name, ""};
  if (n >= 4) {
    auto const day = parts[n - 4] + "-" + parts[n - 3] + "-" + parts[n - 2];
    if (day.size() == 10 && iso_seconds(day)) found.day = day;
  }
  // .blockstore/manifests/NAME/N.manifest
  if (n >= 4 && parts[n - 3] == "manifests" && parts[n - 4] == ".blockstore") {
    found.name = parts[n - 2];
  }
  return found;
}

clock_source::wall moment_of(manifest_place const& place, manifest_header const& header) {
  using std::chrono::seconds;
  using wall = clock_source::wall;
  // The clock counts in nanoseconds: before 1677 and after 2262 is nothing that
  // it could say.
  constexpr auto first = std::chrono::ceil<seconds>(wall::min().time_since_epoch());
  constexpr auto last = std::chrono::floor<seconds>(wall::max().time_since_epoch());
  for (auto const& date : {place.day, header.date}) {
    auto const found = iso_seconds(date);
    if (found && seconds(*found) >= first && seconds(*found) <= last) return wall(seconds(*found));
  }
  return std::chrono::system_clock::now();
}

bool same_header(manifest_header const& a, manifest_header const& b) {
  return a.source == b.source && a.date == b.date &&
         a.geometry.image_bytes == b.geometry.image_bytes &&
         a.geometry.block_bytes == b.geometry.block_bytes;
}

// What says nothing against the other store, or the other images.
bool is_of_one_image(error const& failure) {
  return failure.kind() == severity::corruption || failure.code() == store_errc::no_such_manifest ||
         failure.code() == store_errc::bad_name;
}

}  // namespace

void check_can_copy(opened_store const& from, std::string const& to_base) {
  struct stat one{};
  struct stat other{};
  auto const theirs = to_base + "/.blockstore";
  if (::stat((from.base + "/.blockstore").c_str(), &one) != 0) return;
  if (::stat(theirs.c_str(), &other) != 0) return;
  if (one.st_dev != other.st_dev || one.st_ino != other.st_ino) return;
  throw error(store_errc::busy, severity::permanent)
      .path(theirs)
      .cause("this is the store that would be copied")
      .remedy("name another folder with --to");
}

void check_same_block_size(opened_store const& from, opened_store const& to) {
  auto const ours = from.store.properties().block_bytes;
  auto const theirs = to.store.properties().block_bytes;
  if (ours == theirs) return;
  throw error(store_errc::block_size_differs, severity::permanent)
      .path(to.base)
      .cause(format("its blocks are of {} bytes, those of {} of {}", theirs, from.base, ours))
      .remedy(format("copy to another folder, or to one made with init --block-size {}", ours));
}

image_copier::image_copier(opened_store from, opened_store to, unsigned threads,
                           work_monitor& monitor)
    : from_(std::move(from)),
      to_(std::move(to)),
      threads_(std::min(threads, limits::copy_threads_max)),
      monitor_(monitor) {
  // One that is damaged there is equal to none.
  for (auto& entry : list_manifests(to_.base, nullptr)) {
    there_.emplace(entry.name, std::move(entry));
  }
}

image_copy image_copier::copy(std::string const& path) {
  try {
    return copy_image(path);
  } catch (error const& failure) {
    if (!is_of_one_image(failure)) throw;
    return {.outcome = image_copy::kind::failed, .why = failure.what()};
  }
}

image_copy image_copier::copy_image(std::string const& path) {
  manifest_reader reader(path, from_.store);
  auto const place = place_of(path);
  check_manifest_name(place.name);
  auto const header = reader.header();
  image_copy result;
  result.image_bytes = header.geometry.image_bytes;
  result.blocks = header.geometry.blocks().value;
  if (auto const equal = find_equal(path, place.name)) {
    result.outcome = image_copy::kind::present;
    result.path = *equal;
    monitor_.done += result.blocks;
    monitor_.bytes_done += result.image_bytes;
    return result;
  }
  manifest_writer writer(to_.base, place.name, header, to_.store, to_.files);
  result.outcome = image_copy::kind::stopped;
  if (!copy_blocks(reader, writer, result)) return result;
  // Lines that stand behind the digests.
  auto const& lines = reader.header().extra;
  for (auto i = header.extra.size(); i < lines.size(); ++i) {
    writer.comment(lines[i].first, lines[i].second);
  }
  to_.store.barrier();
  // From here on every block is durable; the manifest may be seen.
  result.path = writer.publish(moment_of(place, header));
  result.outcome = image_copy::kind::copied;
  there_.emplace(place.name,
                 manifest_entry{.path = result.path, .name = place.name, .header = header});
  return result;
}

std::optional<std::string> image_copier::find_equal(std::string const& path,
                                                    std::string const& name) {
  auto const header = manifest_reader(path).header();
  auto const [first, last] = there_.equal_range(name);
  for (auto at = first; at != last; ++at) {
    auto const& entry = at->second;
    if (same_header(header, entry.header) && is_equal(path, to_.base + "/" + entry.path)) {
      return entry.path;
    }
  }
  return std::nullopt;
}

// Whether both name the same blocks and have the same lines.
bool image_copier::is_equal(std::string const& path, std::string const& other) const {
  try {
    manifest_reader one(path, from_.store);
    manifest_reader two(other, to_.store);
    for (;;) {
      auto const a = one.next();
      auto const b = two.next();
      if (a != b) return false;
      if (!a) return one.header().extra == two.header().extra;
      if (monitor_.stop) return false;
    }
  } catch (error const& failure) {
    // The copy itself says what is wrong with the one; the other is of no use.
    if (!is_of_one_image(failure)) throw;
    return false;
  }
}

// False when told to stop.
bool image_copier::copy_blocks(manifest_reader& reader, manifest_writer& writer,
                               image_copy& result) {
  auto const geometry = reader.header().geometry;
  block_index next;
  bool at_end = false;
  auto list = reader.next_list();
  while (!at_end) {
    if (monitor_.stop) return false;
    // One list, or as many lines.
    bool const is_full = list && list->blocks.value == limits::list_digests_max;
    bool const known = is_full && brought_.contains(list->id);
    auto const first = next;
    std::vector<place> blocks;
    std::unordered_set<block_id, block_id_hash> seen;
    auto const take = [&](block_id const& id) {
      if (!known && seen.insert(id).second) blocks.push_back({id, next});
      writer.add(id);
      ++next;
    };
    if (list) {
      for (auto const& id : reader.read_list()) take(id);
    } else if (!reader.has_lists()) {
      while (next.value - first.value < limits::copy_blocks_per_lookup) {
        auto const id = reader.next();
        if (!id) break;
        take(*id);
      }
    }
    bring(blocks, reader, result);
    // Some may have been left out.
    if (monitor_.stop) return false;
    if (is_full) (void)brought_.add(list->id);
    if (list) list = reader.next_list();
    monitor_.done += (next - first).value;
    monitor_.bytes_done +=
        std::min(geometry.offset_bytes(next), geometry.image_bytes) - geometry.offset_bytes(first);
    at_end = reader.has_lists() ? !list : next == first;
  }
  return true;
}

void image_copier::bring(std::vector<place> const& blocks, manifest_reader const& reader,
                         image_copy& result) {
  if (blocks.empty()) return;
  std::vector<block_id> ids;
  for (auto const& block : blocks) ids.push_back(block.id);
  auto const missing = to_.store.missing(ids);
  std::vector<place> wanted;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    if (missing[i]) wanted.push_back(blocks[i]);
  }
  std::atomic<std::uint64_t> copied{0};
  std::atomic<std::uint64_t> bytes{0};
  run_parallel(wanted.size(), threads_, [&](std::size_t i) {
    if (monitor_.stop) return;
    auto const frame = read_verified(wanted[i], reader);
    if (!to_.store.put(wanted[i].id, frame)) return;
    ++copied;
    bytes += frame.size();
  });
  result.blocks_copied += copied;
  result.stored_bytes_copied += bytes;
}

// A frame whose content has the digest that the manifest says. Nothing else is put.
byte_vector image_copier::read_verified(place const& block, manifest_reader const& reader) {
  auto const geometry = reader.header().geometry;
  auto const fail = [&](store_errc code, std::string_view cause) {
    auto const offset = geometry.offset_bytes(block.first);
    return error(code, severity::corruption)
        .path(reader.path())
        .offset(offset)
        .cause(format("block {} of the image, bytes {} to {}, is {}, {}", block.first.value, offset,
                      offset + geometry.length_bytes(block.first) - 1, block.id.hex(), cause))
        .remedy("run diskdump verify, then dump the source again");
  };
  std::optional<byte_vector> frame;
  try {
    frame = from_.store.get(block.id);
  } catch (error const& failure) {
    if (failure.kind() != severity::corruption) throw;
    throw fail(store_errc::damaged_block, failure.what());
  }
  if (!frame) throw fail(store_errc::missing_block, "which the store lacks");
  auto const condition = decode_block(block.id, *frame);
  if (!condition.good()) {
    throw fail(store_errc::damaged_block, "which is damaged: " + condition.detail);
  }
  return std::move(*frame);
}

}  // namespace diskdump
