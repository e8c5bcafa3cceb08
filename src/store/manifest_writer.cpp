// Writes a manifest as a stream into the store's tmp folder and gives it its name at the end.
#include <sys/stat.h>

#include <algorithm>

#include "base/assert.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "io/io_errc.hpp"
#include "store/layout.hpp"
#include "store/manifest.hpp"
#include "store/manifest_name.hpp"
#include "store/scratch.hpp"
#include "store/store_error.hpp"

namespace diskdump {

namespace {

// 1000 digests to a write.
constexpr std::size_t buffer_bytes = 64 * limits::KiB;
constexpr std::string_view blockstore_name = ".blockstore";

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

}  // namespace

struct manifest_writer::state {
  state(std::string base, std::string name, manifest_header const& header, file_system* files)
      : base_(std::move(base)),
        name_(std::move(name)),
        blocks_total_(header.geometry.blocks()),
        owned_files_(files == nullptr ? make_posix_file_system(base_) : nullptr),
        files_(files == nullptr ? *owned_files_ : *files),
        layout_(std::string(blockstore_name) + "/"),
        scratch_(base_ + "/" + std::string(blockstore_name), files_, layout_),
        path_(scratch_.next_path()) {
    buffer_.reserve(buffer_bytes + limits::manifest_line_bytes_max);
    buffer_ = "# diskdump manifest v1\n";
    line("source", header.source);
    line("date", header.date);
    line("block_size", std::to_string(header.geometry.block_bytes));
    line("total_blocks", std::to_string(blocks_total_.value));
    line("total_size", std::to_string(header.geometry.image_bytes));
    for (auto const& [key, value] : header.extra) line(key, value);
    writing([&] { (void)files_.create_exclusive(path_, as_bytes(buffer_)); });
    buffer_.clear();
  }

  void line(std::string_view key, std::string_view value) {
    DISKDUMP_ASSERT(!key.empty() && key.size() < 256 && key.find(':') == std::string_view::npos);
    ++comments_;
    DISKDUMP_ASSERT(comments_ <= limits::manifest_comment_lines_max);
    buffer_ += format("# {}: {}\n", key, one_line(value));
  }

  void flush_if(bool wanted) {
    if (!wanted || buffer_.empty()) return;
    writing([&] { files_.append(path_, as_bytes(buffer_)); });
    buffer_.clear();
  }

  // A .blockstore on another file system than DIR is possible (a mount, a link). A rename does not
  // lead out of it, so the text is copied next to its final name first.
  void move_to_folder(std::string const& folder) {
    auto const copy = format("{}/.{}.tmp", folder, scratch_.unique_name());
    if (!files_.create_exclusive(copy, {})) throw cannot_write(EEXIST, "create", copy);
    auto const original = std::exchange(path_, copy);
    for (std::uint64_t offset = 0;;) {
      auto const bytes = files_.read(original, buffer_bytes, offset);
      if (!bytes || bytes->empty()) break;
      files_.append(copy, *bytes);
      offset += bytes->size();
    }
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
    DISKDUMP_ASSERT(!published_ && added_ == blocks_total_);
    flush_if(true);
    return writing([&] {
      auto const folder = date_folder(date);
      auto target = place_in(folder);
      published_ = true;
      try {
        sync_folders(folder);
      } catch (...) {
        // The dump is reported as failed, so its manifest must not stay.
        try {
          (void)files_.remove(target);
        } catch (std::exception const&) {
        }
        throw;
      }
      return target;
    });
  }

  ~state() {
    if (published_ || !copied_) return;  // what is in the scratch folder goes with it
    try {
      (void)files_.remove(path_);
    } catch (std::exception const&) {
    }
  }

  std::string base_;
  std::string name_;
  block_count blocks_total_;
  block_count added_;
  std::size_t comments_ = 0;
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
  state_ = writing(
      [&] { return std::make_unique<state>(std::move(base), std::move(name), header, files); });
}

manifest_writer::~manifest_writer() = default;

void manifest_writer::add(block_id const& id) {
  state_->buffer_ += id.hex();
  state_->buffer_ += '\n';
  ++state_->added_;
  state_->flush_if(state_->buffer_.size() >= buffer_bytes);
}

void manifest_writer::comment(std::string_view key, std::string_view value) {
  state_->line(key, value);
  state_->flush_if(state_->buffer_.size() >= buffer_bytes);
}

std::string manifest_writer::publish(clock_source::wall date) { return state_->publish(date); }

}  // namespace diskdump
