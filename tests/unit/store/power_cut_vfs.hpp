// What SQLite stands on, on a disk that forgets what was not synced: SQLite's own files, through
// which all goes, and beside each what of it is durable. While this object lives every connection
// that is opened uses it. One at a time; no connection outlives it. It remembers all files: one
// object for each folder.
//
// Shared memory (-shm) is none of the disk's business and goes with a cut. Files that others rename
// or remove are taken as they are then; a name is durable with the first sync of the file.
#pragma once

#include <array>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "store/sqlite.hpp"
#include "store_support.hpp"

namespace diskdump {

class power_cut_vfs {
 public:
  // Asked before each call that changes a file or syncs it; where it says false the call fails.
  std::function<bool()> may_change;
  bool ignores_syncs = false;  // sabotage: a disk that lies

  power_cut_vfs() : real_(::sqlite3_vfs_find(nullptr)), own_(*real_) {
    own_.zName = "power-cut";
    own_.szOsFile = static_cast<int>(sizeof(open_file)) + real_->szOsFile;
    own_.pNext = nullptr;
    own_.xOpen = &open;
    own_.xDelete = &remove;
    current_ = this;
    REQUIRE(::sqlite3_vfs_register(&own_, 1) == SQLITE_OK);
  }
  ~power_cut_vfs() {
    (void)::sqlite3_vfs_unregister(&own_);
    (void)::sqlite3_vfs_register(real_, 1);
    current_ = nullptr;
  }
  power_cut_vfs(power_cut_vfs const&) = delete;
  power_cut_vfs& operator=(power_cut_vfs const&) = delete;

  // Of each change that was not synced, whether the disk has it all the same: none, all, or as the
  // seed decides for each of its sectors. REQUIRES: no connection is open.
  enum class cut : std::uint8_t { drops_all, drops_some };
  void cut_power(cut how, std::uint32_t seed) {
    std::lock_guard const lock(mutex_);
    std::mt19937 random(seed);
    auto const keeps = [&] { return how == cut::drops_some && random() % 2 == 0; };
    for (auto& [path, f] : files_) {
      std::filesystem::remove(path + "-shm");
      // Removed by SQLite, or by others.
      bool const is_there = std::filesystem::exists(path);
      if (!is_there && (!f.removed || keeps())) continue;
      if (!f.has_durable_name && !keeps()) {
        dropped_ += f.changes.empty() ? 0 : 1;
        std::filesystem::remove(path);
        continue;
      }
      auto content = f.durable;
      for (auto const& c : f.changes) {
        if (keeps()) {
          apply(content, c);
        } else {
          ++dropped_;
        }
      }
      write_text(path, content);
    }
    files_.clear();
  }
  // Changes that cuts have dropped.
  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_; }

 private:
  static constexpr std::size_t sector_bytes = 512;
  // A part of one sector that was written, or the file's end.
  struct change {
    std::uint64_t offset = 0;
    std::string bytes;
    bool is_end = false;
  };
  struct file {
    std::string durable;
    bool has_durable_name = false;
    bool removed = false;  // by SQLite, and that may not be durable
    std::vector<change> changes;
  };
  // SQLite's file, and behind it that of the real one, in memory that SQLite aligns to 8 bytes.
  struct open_file {
    sqlite3_file head;
    std::string* path;  // nullptr: of no name
    [[nodiscard]] sqlite3_file* real() noexcept {
      return reinterpret_cast<sqlite3_file*>(this + 1);
    }
  };
  static open_file& of(sqlite3_file* f) { return *reinterpret_cast<open_file*>(f); }
  static sqlite3_file* real_of(sqlite3_file* f) { return of(f).real(); }

  static void apply(std::string& content, change const& c) {
    if (c.is_end) {
      content.resize(c.offset);
      return;
    }
    if (content.size() < c.offset + c.bytes.size()) content.resize(c.offset + c.bytes.size());
    content.replace(c.offset, c.bytes.size(), c.bytes);
  }

  bool enter() { return !may_change || may_change(); }

  static int open(sqlite3_vfs*, char const* name, sqlite3_file* f, int flags, int* out_flags) {
    auto& self = *current_;
    auto& opened = of(f);
    opened.head.pMethods = nullptr;
    opened.path = nullptr;
    bool const is_new = name == nullptr || !std::filesystem::exists(name);
    int const result = self.real_->xOpen(self.real_, name, opened.real(), flags, out_flags);
    if (result != SQLITE_OK) return result;
    opened.head.pMethods = &methods_;
    if (name == nullptr) return result;
    opened.path = new std::string(name);
    std::lock_guard const lock(self.mutex_);
    auto const [at, is_first] = self.files_.try_emplace(name);
    auto& known = at->second;
    if (is_first && !is_new) {
      known.durable = read_text(name);
      known.has_durable_name = true;
    } else if (is_new) {
      // Where one was removed, and that is not durable, the name is.
      known.changes.clear();
      if (!known.removed) known = {};
      known.changes.push_back({.is_end = true});
    }
    known.removed = false;
    return result;
  }
  static int remove(sqlite3_vfs*, char const* name, int sync_directory) {
    auto& self = *current_;
    if (!self.enter()) return SQLITE_IOERR_DELETE;
    int const result = self.real_->xDelete(self.real_, name, sync_directory);
    if (result != SQLITE_OK) return result;
    std::lock_guard const lock(self.mutex_);
    if (sync_directory != 0 && !self.ignores_syncs) {
      self.files_.erase(name);
    } else if (auto const at = self.files_.find(name); at != self.files_.end()) {
      at->second.removed = true;
    }
    return result;
  }

  static int close(sqlite3_file* f) {
    delete std::exchange(of(f).path, nullptr);
    return real_of(f)->pMethods->xClose(real_of(f));
  }
  static int write(sqlite3_file* f, void const* from, int count, sqlite3_int64 offset) {
    auto& self = *current_;
    if (!self.enter()) return SQLITE_IOERR_WRITE;
    if (of(f).path != nullptr) {
      std::lock_guard const lock(self.mutex_);
      std::string_view rest(static_cast<char const*>(from), static_cast<std::size_t>(count));
      auto at = static_cast<std::uint64_t>(offset);
      while (!rest.empty()) {
        auto const part = rest.substr(0, sector_bytes - at % sector_bytes);
        self.files_[*of(f).path].changes.push_back({at, std::string(part), false});
        at += part.size();
        rest.remove_prefix(part.size());
      }
    }
    return real_of(f)->pMethods->xWrite(real_of(f), from, count, offset);
  }
  static int truncate(sqlite3_file* f, sqlite3_int64 size) {
    auto& self = *current_;
    if (!self.enter()) return SQLITE_IOERR_TRUNCATE;
    if (of(f).path != nullptr) {
      std::lock_guard const lock(self.mutex_);
      self.files_[*of(f).path].changes.push_back({static_cast<std::uint64_t>(size), "", true});
    }
    return real_of(f)->pMethods->xTruncate(real_of(f), size);
  }
  static int sync(sqlite3_file* f, int flags) {
    auto& self = *current_;
    if (!self.enter()) return SQLITE_IOERR_FSYNC;
    int const result = real_of(f)->pMethods->xSync(real_of(f), flags);
    if (result != SQLITE_OK || of(f).path == nullptr || self.ignores_syncs) return result;
    std::lock_guard const lock(self.mutex_);
    auto& known = self.files_[*of(f).path];
    for (auto const& c : known.changes) apply(known.durable, c);
    known.changes.clear();
    known.has_durable_name = true;
    return result;
  }

  // What only goes on to the real file.
  static int read(sqlite3_file* f, void* to, int count, sqlite3_int64 offset) {
    return real_of(f)->pMethods->xRead(real_of(f), to, count, offset);
  }
  static int file_size(sqlite3_file* f, sqlite3_int64* size) {
    return real_of(f)->pMethods->xFileSize(real_of(f), size);
  }
  static int lock(sqlite3_file* f, int level) {
    return real_of(f)->pMethods->xLock(real_of(f), level);
  }
  static int unlock(sqlite3_file* f, int level) {
    return real_of(f)->pMethods->xUnlock(real_of(f), level);
  }
  static int check_reserved_lock(sqlite3_file* f, int* out) {
    return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
  }
  static int file_control(sqlite3_file* f, int op, void* argument) {
    return real_of(f)->pMethods->xFileControl(real_of(f), op, argument);
  }
  static int sector_size(sqlite3_file* f) { return real_of(f)->pMethods->xSectorSize(real_of(f)); }
  static int device_characteristics(sqlite3_file* f) {
    return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
  }
  static int shm_map(sqlite3_file* f, int page, int bytes, int extend, void volatile** out) {
    return real_of(f)->pMethods->xShmMap(real_of(f), page, bytes, extend, out);
  }
  static int shm_lock(sqlite3_file* f, int offset, int count, int flags) {
    return real_of(f)->pMethods->xShmLock(real_of(f), offset, count, flags);
  }
  static void shm_barrier(sqlite3_file* f) { real_of(f)->pMethods->xShmBarrier(real_of(f)); }
  static int shm_unmap(sqlite3_file* f, int remove) {
    return real_of(f)->pMethods->xShmUnmap(real_of(f), remove);
  }

  // Version 2: without xFetch, so that nothing is changed through a map of the file.
  static inline sqlite3_io_methods const methods_{
      .iVersion = 2,
      .xClose = &close,
      .xRead = &read,
      .xWrite = &write,
      .xTruncate = &truncate,
      .xSync = &sync,
      .xFileSize = &file_size,
      .xLock = &lock,
      .xUnlock = &unlock,
      .xCheckReservedLock = &check_reserved_lock,
      .xFileControl = &file_control,
      .xSectorSize = &sector_size,
      .xDeviceCharacteristics = &device_characteristics,
      .xShmMap = &shm_map,
      .xShmLock = &shm_lock,
      .xShmBarrier = &shm_barrier,
      .xShmUnmap = &shm_unmap,
      .xFetch = nullptr,
      .xUnfetch = nullptr,
  };
  static inline power_cut_vfs* current_ = nullptr;

  sqlite3_vfs* real_;
  sqlite3_vfs own_;
  std::mutex mutex_;
  std::map<std::string, file> files_;
  std::uint64_t dropped_ = 0;
};

}  // namespace diskdump
