// A file system in memory that fails on demand and forgets what was not synced: the seam for tests
// of full and read-only file systems, and of power cuts at any point. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "io/file_system.hpp"
#include "io/io_errc.hpp"

namespace diskdump {

// How much of what was not synced a power cut leaves behind. Real systems do anything in between.
enum class power_cut_leaves : std::uint8_t {
  nothing,            // neither names nor content
  names_without_data  // new names and renames, but files that are empty: ext4, XFS after a rename
};

class simulated_file_system final : public file_system {
 public:
  simulated_file_system();

  // The n-th call from now on (1 is the next) that changes something fails with this errno, once;
  // with `from_then_on`, all later ones as well (a full or read-only file system stays so).
  void fail_change(std::uint64_t nth, int errno_value, bool from_then_on = false);
  // The same for calls that read.
  void fail_read(std::uint64_t nth, int errno_value);
  void heal();
  // Changing calls since the start: run once to count them, then cut the power at each.
  [[nodiscard]] std::uint64_t changes() const;

  // Goes back to what is durable. REQUIRES: no call in flight.
  void power_cut(power_cut_leaves what);

  bool create_exclusive(std::string const& path, byte_view bytes) override;
  [[nodiscard]] std::unique_ptr<append_file> create_appendable(std::string const& path,
                                                               write_back when) override;
  void append(std::string const& path, byte_view bytes) override;
  [[nodiscard]] std::unique_ptr<read_file> open_readable(std::string const& path) override;
  [[nodiscard]] std::optional<byte_vector> read(std::string const& path, std::size_t bytes_max,
                                                std::uint64_t offset_bytes = 0) override;
  [[nodiscard]] std::string stamp(std::string const& path) override;
  bool rename_noreplace(std::string const& from, std::string const& to) override;
  bool remove(std::string const& path) override;
  void make_directories(std::string const& path) override;
  [[nodiscard]] std::vector<directory_entry> list_directory(std::string const& path,
                                                            listing detail) override;
  void sync(sync_scope what, std::string const& path) override;

 private:
  class open_file;
  class file_to_read;
  struct file {
    std::uint64_t number = 0;
    byte_vector bytes;
    byte_vector durable_bytes;
  };
  // Names and content are two things, as they are on disk: a name can be durable while the content
  // is not, and the other way round.
  struct tree {
    std::map<std::string, std::shared_ptr<file>> files;
    std::set<std::string> directories;
  };
  struct plan {
    std::uint64_t at = 0;  // of the call count; 0: none
    int errno_value = 0;
    bool from_then_on = false;
  };

  static void step(std::uint64_t& calls, plan& fault, io_direction direction,
                   std::string const& path);
  void append_to(file& content, std::string const& name, byte_view bytes);
  void need_parent(std::string const& path) const;
  [[nodiscard]] bool exists(std::string const& path) const;

  mutable std::mutex mutex_;
  tree now_;
  tree durable_;
  std::uint64_t files_made_ = 0;
  std::uint64_t changes_ = 0;
  std::uint64_t reads_ = 0;
  plan change_fault_;
  plan read_fault_;
};

}  // namespace diskdump
