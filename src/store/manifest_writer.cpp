// Writes a manifest as a stream into the store's tmp folder and gives it its name at the end.
#include <sys/stat.h>

#include <algorithm>
#include <limits>

#include "base/assert.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "io/io_errc.hpp"
#include "store/interrupted.hpp"
#include "store/layout.hpp"
#include "store/manifest.hpp"
#include "store/manifest_name.hpp"
#include "store/scratch.hpp"
#include "store/store_error.hpp"

namespace diskdump {

namespace {

// 1000 digests to a write.
constexpr std::size_t write_buffer_bytes = 64 * limits::KiB;
constexpr std::size_t copy_bytes = 1 * limits::MiB;
constexpr std::string_view blockstore_name = ".blockstore";
// Without a colon, so that no reader takes it for a value.
constexpr std::string_view lists_explained =
    "# each line names a list of up to 4096 blocks, which diskdump info --digests prints\n";
static_assert(limits::list_digests_max == 4096);

// A source can hold any byte that a path can; a line end in it must not start a line of its own.
std::string one_line(std::string_view text) {
  std::string out;
  for (unsigned char const c : text) {
    if (c < 0x20 || c == 0x7f) {
      out += format("\\x{:02x}", c);
    } else {
      out += static_cast<char>(c);
    }
  }
  // Room for "# key: ", so that what we write is what the reader takes.
  constexpr auto value_bytes_max = limits::manifest_line_bytes_max - 512;
  if (out.size() > value_bytes_max) out.resize(value_bytes_max);
  return out;
}

bool same_file_system(std::string const& a, std::string const& b) noexcept {
  struct stat first{};
  struct stat second{};
  return ::stat(a.c_str(), &first) == 0 && ::stat(b.c_str(), &second) == 0 &&
         first.st_dev == second.st_dev;
}

// On a disk that blocks have filled, the store has room for a manifest. nullptr: no store.
template <class Write>
decltype(auto) writing_with_room(block_store* store, Write const& write) {
  try {
    return writing(write);
  } catch (error const& failure) {
    if (failure.code() != store_errc::store_full || store == nullptr) throw;
    if (!store->give_room()) throw;
  }
  return writing(write);
}

}  // namespace

struct manifest_writer::state {
  // Before its first use, which deduces its type.
  template <class Write>
  decltype(auto) write(Write const& action) {
    return writing_with_room(store_, action);
  }

  state(std::string base, std::string name, manifest_header const& header, block_store* store,
        file_system* files)
      : base_(std::move(base)),
        name_(std::move(name)),
        blocks_total_(header.geometry.blocks()),
        store_(store),
        lists_(store != nullptr && keeps_lists(*store) ? store : nullptr),
        owned_files_(files == nullptr ? make_posix_file_system(base_) : nullptr),
        files_(files == nullptr ? *owned_files_ : *files),
        layout_(std::string(blockstore_name) + "/"),
        scratch_(base_ + "/" + std::string(blockstore_name), files_, layout_),
        path_(scratch_.next_path()) {
    buffer_.reserve(write_buffer_bytes + limits::manifest_line_bytes_max);
    buffer_ = lists_ == nullptr ? manifest_first_line : manifest_first_line_with_lists;
    buffer_ += '\n';
    line("source", header.source);
    line("date", header.date);
    line("block_size", std::to_string(header.geometry.block_bytes));
    line("total_blocks", std::to_string(blocks_total_.value));
    line("total_size", std::to_string(header.geometry.image_bytes));
    if (lists_ != nullptr) {
      count_comment();
      buffer_ += lists_explained;
    }
    for (auto const& [key, value] : header.extra) line(key, value);
    write([&] { (void)files_.create_exclusive(path_, as_bytes(buffer_)); });
    written_bytes_ = header_bytes_ = buffer_.size();
    header_comments_ = comments_;
    buffer_.clear();
  }

  // No reader takes more. A copy may have to write lines that the manifest it
  // reads lacks.
  void count_comment() {
    if (++comments_ <= limits::manifest_comment_lines_max) return;
    throw error(store_errc::damaged_manifest, severity::corruption)
        .path(base_ + "/" + name_)
        .cause(
            format("it would have more than {} comment lines", limits::manifest_comment_lines_max))
        .remedy("remove comments from the manifest that is copied");
  }

  void line(std::string_view key, std::string_view value) {
    DISKDUMP_ASSERT(!key.empty() && key.size() <= manifest_key_bytes_max &&
                    key.find(':') == std::string_view::npos);
    count_comment();
    buffer_ += format("# {}: {}\n", key, one_line(value));
  }

  void add(block_id const& id) {
    DISKDUMP_ASSERT(added_ < blocks_total_);
    ++added_;
    if (lists_ == nullptr) {
      text_line(id.hex());
      return;
    }
    DISKDUMP_ASSERT(!lists_ended_);
    digests_.push_back(id);
    // The last one too, so that the barrier before publish() covers it.
    if (digests_.size() == limits::list_digests_max || added_ == blocks_total_) put_rest();
  }

  void text_line(std::string_view text) {
    buffer_ += text;
    buffer_ += '\n';
    flush_if(buffer_.size() >= write_buffer_bytes);
  }

  void put_rest() {
    if (digests_.empty()) return;
    auto const id = put_list(*lists_, digests_);
    digests_.clear();
    ++lists_written_;
    text_line(list_name(id));
  }

  void flush_if(bool wanted) {
    if (!wanted || buffer_.empty()) return;
    write([&] {
      if (torn_) keep_only(written_bytes_);
      // A write that fails may have added a part, which must not stand before the whole.
      torn_ = true;
      files_.append(path_, as_bytes(buffer_));
      torn_ = false;
    });
    written_bytes_ += buffer_.size();
    buffer_.clear();
  }

  void copy(std::string const& from, std::string const& to, std::uint64_t bytes_max) {
    if (!files_.create_exclusive(to, {})) throw cannot_write(EEXIST, "create", to);
    try {
      for (std::uint64_t offset = 0; offset < bytes_max;) {
        auto const part = std::min<std::uint64_t>(bytes_max - offset, copy_bytes);
        auto const bytes = files_.read(from, static_cast<std::size_t>(part), offset);
        if (!bytes || bytes->empty()) break;
        files_.append(to, *bytes);
        offset += bytes->size();
      }
    } catch (...) {
      // Outside .blockstore nobody else would take it away.
      remove_if_possible(to);
      throw;
    }
  }

  void remove_if_possible(std::string const& path) noexcept {
    try {
      (void)files_.remove(path);
    } catch (std::exception const&) {
    }
  }

  // A copy of the first part rather than a cut: the file system of a store needs no other call for
  // it, and 65 bytes a block are little beside reading the blocks again.
  void keep_only(std::uint64_t bytes) {
    auto const again = scratch_.next_path();
    copy(path_, again, bytes);
    auto const before = std::exchange(path_, again);
    written_bytes_ = bytes;
    torn_ = copied_ = false;
    (void)files_.remove(before);
  }

  void rewind(block_count blocks) {
    DISKDUMP_ASSERT(!published_ && !copied_ && !lists_ended_ && blocks <= added_);
    if (blocks == added_ && comments_ == header_comments_) return;
    flush_if(true);
    std::uint64_t bytes = blocks.value * limits::manifest_bytes_per_block;
    if (lists_ != nullptr) bytes = rewind_lists(blocks) * limits::manifest_bytes_per_list;
    write([&] { keep_only(header_bytes_ + bytes); });
    added_ = blocks;
    comments_ = header_comments_;
    // Only lines behind the last block were taken back; nobody adds it again.
    if (added_ == blocks_total_) put_rest();
  }

  // How many lists stay; the digests behind them are in `digests_` again. REQUIRES: all lines are
  // in the file.
  std::uint64_t rewind_lists(block_count blocks) {
    auto const stay = blocks.value / limits::list_digests_max;
    auto const rest = static_cast<std::size_t>(blocks.value % limits::list_digests_max);
    if (stay < lists_written_) digests_ = rest == 0 ? std::vector<block_id>() : list_at(stay);
    DISKDUMP_ASSERT(digests_.size() >= rest);
    digests_.resize(rest);
    lists_written_ = stay;
    return stay;
  }

  // What was put is read again: a rewind is rare, and may go back further than memory reaches.
  std::vector<block_id> list_at(std::uint64_t number) {
    constexpr auto name_bytes = limits::manifest_bytes_per_list - 1;
    auto const name = writing([&] {
      return files_.read(path_, name_bytes,
                         header_bytes_ + number * limits::manifest_bytes_per_list);
    });
    auto const id = name ? list_of_name(as_text(*name)) : std::nullopt;
    auto const frame = id ? lists_->get(*id) : std::nullopt;
    if (!frame) {
      throw error(store_errc::cannot_write, severity::permanent)
          .path(path_)
          .cause("a list that was written a moment ago is gone")
          .remedy("dump it again");
    }
    return decode_list(*id, *frame);
  }

  void end_lists() {
    DISKDUMP_ASSERT(!published_);
    if (lists_ != nullptr) put_rest();
    lists_ended_ = true;
  }

  void keep_interrupted() {
    DISKDUMP_ASSERT(!published_ && digests_.empty());
    flush_if(true);
    write([&] {
      auto const folder = layout_.in(interrupted_folder);
      auto const target = layout_.in(interrupted_file(name_));
      files_.make_directories(folder);
      // A publish() that failed has taken it out of .blockstore, and no rename leads back.
      if (copied_) keep_only(written_bytes_);
      files_.sync(sync_scope::file, path_);
      while (!files_.rename_noreplace(path_, target)) (void)files_.remove(target);
      files_.sync(sync_scope::directory, folder);
    });
    published_ = true;
  }

  // A .blockstore on another file system than DIR is possible (a mount, a link). A rename does not
  // lead out of it, so the text is copied next to its final name first.
  void move_to_folder(std::string const& folder) {
    auto const copy = format("{}/.{}.tmp", folder, scratch_.unique_name());
    this->copy(path_, copy, std::numeric_limits<std::uint64_t>::max());
    path_ = copy;
    copied_ = true;
  }

  // One past the highest version that the folder has, so that a version removed from between does
  // not come back as another image.
  std::uint32_t next_version(std::string const& folder) {
    std::uint32_t highest = 0;
    for (auto const& entry : files_.list_directory(folder)) {
      if (!entry.name.ends_with(manifest_suffix)) continue;
      auto const stem =
          std::string_view(entry.name).substr(0, entry.name.size() - manifest_suffix.size());
      auto const parsed = parse_manifest_stem(stem);
      if (parsed.name == name_) highest = std::max(highest, parsed.version);
    }
    return highest + 1;
  }

  std::string give_name(std::string const& folder) {
    for (auto version = next_version(folder); version <= limits::manifest_versions_per_day_max;
         ++version) {
      auto target = folder + "/" + manifest_stem(name_, version) + std::string(manifest_suffix);
      if (files_.rename_noreplace(path_, target)) return target;
    }
    throw error(store_errc::cannot_write, severity::permanent)
        .path(base_ + "/" + folder)
        .cause(format("there are {} manifests of this name and day",
                      limits::manifest_versions_per_day_max))
        .remedy("choose another name with --as");
  }

  std::string place_in(std::string const& folder) {
    for (unsigned tries = 1;; ++tries) {
      try {
        files_.make_directories(folder);
        if (!copied_ && !same_file_system(base_, base_ + "/" + std::string(blockstore_name))) {
          move_to_folder(folder);
        }
        files_.sync(sync_scope::file, path_);
        return give_name(folder);
      } catch (error const& failure) {
        // A prune takes folders away that it finds empty, until something is in them.
        if (failure.code() != io_errc::not_found || tries == limits::publish_tries_max) throw;
      }
    }
  }

  // Every folder on the way is synced, not only those made here: another process may have made
  // one a moment ago and not synced it yet.
  void sync_folders(std::string folder) {
    for (;;) {
      files_.sync(sync_scope::directory, folder);
      if (folder.empty()) return;
      auto const slash = folder.rfind('/');
      folder.resize(slash == std::string::npos ? 0 : slash);
    }
  }

  std::string publish(clock_source::wall date) {
    DISKDUMP_ASSERT(!published_ && added_ == blocks_total_ && digests_.empty());
    flush_if(true);
    return write([&] {
      auto const folder = date_folder(date);
      auto target = place_in(folder);
      try {
        sync_folders(folder);
      } catch (...) {
        // The dump is reported as failed, so its manifest must not stay.
        take_name_back(target);
        throw;
      }
      published_ = true;
      return target;
    });
  }

  // So that keep_interrupted() finds what there is. Where the disk does not even rename, it finds
  // nothing and says so.
  void take_name_back(std::string const& target) noexcept {
    try {
      if (files_.rename_noreplace(target, path_)) return;
    } catch (std::exception const&) {
    }
    remove_if_possible(target);
  }

  ~state() {
    if (published_ || !copied_) return;  // what is in the scratch folder goes with it
    remove_if_possible(path_);
  }

  std::string base_;
  std::string name_;
  block_count blocks_total_;
  block_count added_;
  block_store* store_;             // none: nobody keeps room for this manifest
  block_store* lists_;             // none: the manifest holds the digests itself
  std::vector<block_id> digests_;  // that are in no list yet; fewer than one holds
  std::uint64_t lists_written_ = 0;
  bool lists_ended_ = false;
  std::size_t comments_ = 0;
  std::size_t header_bytes_ = 0;
  std::uint64_t written_bytes_ = 0;  // of the file, whole lines
  bool torn_ = false;                // more may follow them, of a write that failed
  std::size_t header_comments_ = 0;
  std::unique_ptr<file_system> owned_files_;
  file_system& files_;
  store_layout layout_;
  scratch_folder scratch_;
  std::string path_;
  bool copied_ = false;
  bool published_ = false;
  std::string buffer_;
};

manifest_writer::manifest_writer(std::string base, std::string name, manifest_header header,
                                 file_system* files) {
  check_manifest_name(name);
  state_ = writing([&] {
    return std::make_unique<state>(std::move(base), std::move(name), header, nullptr, files);
  });
}

manifest_writer::manifest_writer(std::string base, std::string name, manifest_header header,
                                 block_store& store, file_system* files) {
  check_manifest_name(name);
  state_ = writing_with_room(
      &store, [&] { return std::make_unique<state>(base, name, header, &store, files); });
}

manifest_writer::~manifest_writer() = default;

void manifest_writer::add(block_id const& id) { state_->add(id); }

void manifest_writer::comment(std::string_view key, std::string_view value) {
  state_->line(key, value);
  state_->flush_if(state_->buffer_.size() >= write_buffer_bytes);
}

std::string manifest_writer::publish(clock_source::wall date) { return state_->publish(date); }
void manifest_writer::rewind(block_count blocks) { state_->rewind(blocks); }
void manifest_writer::end_lists() { state_->end_lists(); }
void manifest_writer::keep_interrupted() { state_->keep_interrupted(); }

}  // namespace diskdump
