// A real file system that fails when told to and loses what was not synced when the power is cut.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <set>

#include "io/file_system.hpp"
#include "io/io_errc.hpp"
#include "store_support.hpp"

namespace diskdump {

class faulty_file_system final : public file_system {
 public:
  enum class call : std::uint8_t { create, append, read, rename, remove, mkdir, list, sync };

  explicit faulty_file_system(std::string root)
      : root_(std::move(root)), real_(make_posix_file_system(root_)) {}

  // Called before each call; what it throws is the call's failure.
  std::function<void(call, std::string const& path)> before;

  // Reads of files so named that touch this byte fail like those of a bad sector.
  void spoil(std::string path_end, std::uint64_t offset_bytes) {
    bad_path_end_ = std::move(path_end);
    bad_offset_bytes_ = offset_bytes;
  }

  // The n-th changing call from now on fails (n counts from 1); with `dead` all after it too.
  void fail_at(std::uint64_t n, bool dead) {
    calls_ = 0;
    fail_at_ = n;
    dead_ = dead;
  }
  [[nodiscard]] bool has_failed() const { return calls_ >= fail_at_; }

  // What a cut leaves of changes that were not synced; real systems do anything in between.
  enum class cut : std::uint8_t {
    empties_files,   // names are there, what was written is not: ext4, XFS after a rename
    zeroes_data,     // names and sizes are there, zeros instead of what was written
    undoes_changes,  // neither names nor content, and what was removed is back
  };
  void cut_power(cut how = cut::empties_files) {
    std::lock_guard const lock(mutex_);
    std::error_code ignored;
    if (how != cut::undoes_changes) {
      for (auto const& [path, durable_bytes] : unsynced_) {
        auto const at = root_ + "/" + path;
        auto const size_bytes = std::filesystem::file_size(at, ignored);
        std::filesystem::resize_file(at, durable_bytes, ignored);
        if (how == cut::zeroes_data) std::filesystem::resize_file(at, size_bytes, ignored);
      }
    } else {
      for (auto const& [path, durable_bytes] : unsynced_) {
        std::filesystem::resize_file(root_ + "/" + path, durable_bytes, ignored);
      }
      for (auto const& path : new_names_) std::filesystem::remove(root_ + "/" + path, ignored);
      for (auto const& [path, bytes] : removed_) {
        std::filesystem::create_directories(
            std::filesystem::path(root_ + "/" + path).parent_path());
        (void)real_->create_exclusive(path, bytes);
      }
    }
    unsynced_.clear();
    new_names_.clear();
    removed_.clear();
  }

  bool create_exclusive(std::string const& path, byte_view bytes) override {
    enter(call::create, path);
    bool const created = real_->create_exclusive(path, bytes);
    if (created) note(path);
    return created;
  }
  std::unique_ptr<append_file> create_appendable(std::string const& path,
                                                 write_back when) override {
    enter(call::create, path);
    auto file = real_->create_appendable(path, when);
    if (!file) return nullptr;
    note(path);
    auto const name = std::make_shared<std::string>(path);
    std::lock_guard const lock(mutex_);
    open_[path] = name;
    return std::make_unique<open_file>(*this, std::move(file), name);
  }
  void append(std::string const& path, byte_view bytes) override {
    enter(call::append, path);
    note(path);
    real_->append(path, bytes);
  }
  std::unique_ptr<read_file> open_readable(std::string const& path) override {
    enter(call::read, path);
    auto file = real_->open_readable(path);
    if (!file) return nullptr;
    return std::make_unique<file_to_read>(*this, std::move(file), path);
  }
  std::optional<byte_vector> read(std::string const& path, std::size_t bytes_max,
                                  std::uint64_t offset_bytes) override {
    enter(call::read, path);
    check_sectors(path, bytes_max, offset_bytes);
    return real_->read(path, bytes_max, offset_bytes);
  }
  std::string stamp(std::string const& path) override {
    enter(call::read, path);
    return real_->stamp(path);
  }
  bool rename_noreplace(std::string const& from, std::string const& to) override {
    enter(call::rename, to);
    bool const renamed = real_->rename_noreplace(from, to);
    std::lock_guard const lock(mutex_);
    if (renamed) {
      if (auto content = unsynced_.extract(from)) {
        content.key() = to;
        unsynced_.insert(std::move(content));
      }
    }
    if (renamed) {
      new_names_.erase(from);
      new_names_.insert(to);
      if (auto file = open_.extract(from)) {
        *file.mapped() = to;
        file.key() = to;
        open_.insert(std::move(file));
      }
    }
    return renamed;
  }
  bool remove(std::string const& path) override {
    enter(call::remove, path);
    std::optional<byte_vector> bytes;
    try {
      bytes = real_->read(path, std::numeric_limits<std::uint32_t>::max());
    } catch (error const&) {
      // A directory.
    }
    bool const removed = real_->remove(path);
    std::lock_guard const lock(mutex_);
    unsynced_.erase(path);
    if (new_names_.erase(path) == 0 && removed && bytes) removed_[path] = std::move(*bytes);
    return removed;
  }
  void make_directories(std::string const& path) override {
    enter(call::mkdir, path);
    real_->make_directories(path);
  }
  std::vector<directory_entry> list_directory(std::string const& path, listing detail) override {
    enter(call::list, path);
    return real_->list_directory(path, detail);
  }
  void sync(sync_scope what, std::string const& path) override {
    enter(call::sync, path);
    real_->sync(what, path);
    std::lock_guard const lock(mutex_);
    auto const is_inside = [&](std::string const& name) {
      auto const slash = name.rfind('/');
      return (slash == std::string::npos ? "" : name.substr(0, slash)) == path;
    };
    if (what == sync_scope::file_system) {
      unsynced_.clear();
      new_names_.clear();
      removed_.clear();
    } else if (what == sync_scope::file) {
      unsynced_.erase(path);
    } else {
      std::erase_if(new_names_, is_inside);
      std::erase_if(removed_, [&](auto const& entry) { return is_inside(entry.first); });
    }
  }

 private:
  class open_file final : public append_file {
   public:
    open_file(faulty_file_system& files, std::unique_ptr<append_file> real,
              std::shared_ptr<std::string> path)
        : files_(files), real_(std::move(real)), path_(std::move(path)) {}
    void append(byte_view bytes) override {
      files_.enter(call::append, *path_);
      {
        std::lock_guard const lock(files_.mutex_);
        files_.unsynced_.try_emplace(*path_, synced_bytes_);
      }
      real_->append(bytes);
      written_bytes_ += bytes.size();
    }
    void sync() override {
      files_.enter(call::sync, *path_);
      std::uint64_t const written_bytes = written_bytes_;
      real_->sync();
      std::lock_guard const lock(files_.mutex_);
      synced_bytes_ = written_bytes;
      if (written_bytes == written_bytes_) files_.unsynced_.erase(*path_);
    }

   private:
    faulty_file_system& files_;
    std::unique_ptr<append_file> real_;
    std::shared_ptr<std::string> path_;
    // One thread at a time writes, and one syncs.
    std::atomic<std::uint64_t> written_bytes_{0};
    std::atomic<std::uint64_t> synced_bytes_{0};
  };

  class file_to_read final : public read_file {
   public:
    file_to_read(faulty_file_system& files, std::unique_ptr<read_file> real, std::string path)
        : files_(files), real_(std::move(real)), path_(std::move(path)) {}
    std::uint64_t size_bytes() const noexcept override { return real_->size_bytes(); }
    std::size_t read(byte_span into, std::uint64_t offset_bytes) override {
      files_.enter(call::read, path_);
      files_.check_sectors(path_, into.size(), offset_bytes);
      return real_->read(into, offset_bytes);
    }

   private:
    faulty_file_system& files_;
    std::unique_ptr<read_file> real_;
    std::string path_;
  };

  void enter(call which, std::string const& path) {
    if (before) before(which, path);
    if (which == call::read || which == call::list) return;
    auto const number = ++calls_;
    if (number == fail_at_ || (dead_ && number > fail_at_)) {
      throw disk_error(EIO, io_direction::write, "test", root_ + "/" + path);
    }
  }
  void check_sectors(std::string const& path, std::uint64_t bytes, std::uint64_t offset) const {
    if (bad_path_end_.empty() || !path.ends_with(bad_path_end_)) return;
    if (bad_offset_bytes_ < offset || bad_offset_bytes_ - offset >= bytes) return;
    throw disk_error(EIO, io_direction::read, "test", root_ + "/" + path);
  }
  void note(std::string const& path) {
    std::lock_guard const lock(mutex_);
    unsynced_.try_emplace(path, 0);
    new_names_.insert(path);
  }

  std::string root_;
  std::unique_ptr<file_system> real_;
  std::string bad_path_end_;
  std::uint64_t bad_offset_bytes_ = 0;
  std::atomic<std::uint64_t> calls_{0};
  std::atomic<std::uint64_t> fail_at_{std::numeric_limits<std::uint64_t>::max()};
  std::atomic<bool> dead_{false};
  std::mutex mutex_;
  std::map<std::string, std::uint64_t> unsynced_;  // content that is not durable from here on
  std::map<std::string, std::shared_ptr<std::string>> open_;
  std::set<std::string> new_names_;  // names that are not
  std::map<std::string, byte_vector> removed_;
};

// Both formats of a store, and each with all that a cut may leave.
inline std::vector<std::pair<store_format, faulty_file_system::cut>> every_power_cut() {
  using cut = faulty_file_system::cut;
  std::vector<std::pair<store_format, cut>> cases;
  for (auto const kind : both_formats) {
    for (auto const how : {cut::empties_files, cut::zeroes_data, cut::undoes_changes}) {
      cases.emplace_back(kind, how);
    }
  }
  return cases;
}

// Runs `action` with files whose power goes at their `at`-th write; true where it went, and false
// where `action` came through.
template <class Action>
[[nodiscard]] bool cut_at_write(std::string const& base, std::uint64_t at,
                                faulty_file_system::cut how, Action const& action) {
  faulty_file_system files(base);
  files.fail_at(at, true);
  try {
    action(files);
  } catch (error const&) {
  }
  bool const was_cut = files.has_failed();
  files.cut_power(how);
  return was_cut;
}

// Runs `trial` with 1, 2, … until it says that nothing was cut any more. How many cuts that were.
template <class Trial>
std::uint64_t at_every_write(Trial const& trial) {
  for (std::uint64_t at = 1;; ++at) {
    CAPTURE(at);
    if (!trial(at)) return at - 1;
  }
}

}  // namespace diskdump
