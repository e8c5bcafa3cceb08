// A real file system that fails when told to and loses what was not synced when the power is cut.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <limits>
#include <mutex>
#include <set>

#include "io/file_system.hpp"
#include "io/io_errc.hpp"

namespace diskdump {

class faulty_file_system final : public file_system {
 public:
  enum class call : std::uint8_t { create, append, read, rename, remove, mkdir, list, sync };

  explicit faulty_file_system(std::string root)
      : root_(std::move(root)), real_(make_posix_file_system(root_)) {}

  // Called before each call; what it throws is the call's failure.
  std::function<void(call, std::string const& path)> before;

  // The n-th changing call from now on fails (n counts from 1); with `dead` all after it too.
  void fail_at(std::uint64_t n, bool dead) {
    calls_ = 0;
    fail_at_ = n;
    dead_ = dead;
  }
  [[nodiscard]] bool has_failed() const { return calls_ >= fail_at_; }

  // What was not synced is empty afterwards.
  void cut_power() {
    std::lock_guard const lock(mutex_);
    for (auto const& path : unsynced_) {
      std::error_code ignored;
      std::filesystem::resize_file(root_ + "/" + path, 0, ignored);
    }
    unsynced_.clear();
  }

  bool create_exclusive(std::string const& path, byte_view bytes) override {
    enter(call::create, path);
    bool const created = real_->create_exclusive(path, bytes);
    if (created) note(path);
    return created;
  }
  void append(std::string const& path, byte_view bytes) override {
    enter(call::append, path);
    note(path);
    real_->append(path, bytes);
  }
  std::optional<byte_vector> read(std::string const& path, std::size_t bytes_max,
                                  std::uint64_t offset_bytes) override {
    enter(call::read, path);
    return real_->read(path, bytes_max, offset_bytes);
  }
  bool rename_noreplace(std::string const& from, std::string const& to) override {
    enter(call::rename, to);
    bool const renamed = real_->rename_noreplace(from, to);
    std::lock_guard const lock(mutex_);
    if (renamed && unsynced_.erase(from) > 0) unsynced_.insert(to);
    return renamed;
  }
  bool remove(std::string const& path) override {
    enter(call::remove, path);
    return real_->remove(path);
  }
  void make_directories(std::string const& path) override {
    enter(call::mkdir, path);
    real_->make_directories(path);
  }
  std::vector<directory_entry> list_directory(std::string const& path) override {
    enter(call::list, path);
    return real_->list_directory(path);
  }
  void sync(sync_scope what, std::string const& path) override {
    enter(call::sync, path);
    real_->sync(what, path);
    std::lock_guard const lock(mutex_);
    if (what == sync_scope::file_system) unsynced_.clear();
    if (what == sync_scope::file) unsynced_.erase(path);
  }

 private:
  void enter(call which, std::string const& path) {
    if (before) before(which, path);
    if (which == call::read || which == call::list) return;
    auto const number = ++calls_;
    if (number == fail_at_ || (dead_ && number > fail_at_)) {
      throw disk_error(EIO, io_direction::write, "test", root_ + "/" + path);
    }
  }
  void note(std::string const& path) {
    std::lock_guard const lock(mutex_);
    unsynced_.insert(path);
  }

  std::string root_;
  std::unique_ptr<file_system> real_;
  std::atomic<std::uint64_t> calls_{0};
  std::atomic<std::uint64_t> fail_at_{std::numeric_limits<std::uint64_t>::max()};
  std::atomic<bool> dead_{false};
  std::mutex mutex_;
  std::set<std::string> unsynced_;
};

}  // namespace diskdump
