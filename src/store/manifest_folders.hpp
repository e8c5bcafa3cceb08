// The folders that manifests lie in, in both layouts, walked without opening a manifest. Blocking.
// Internal to src/store.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "io/file_system.hpp"
#include "store/manifest_name.hpp"

namespace diskdump {

inline constexpr std::string_view old_layout = ".blockstore/manifests";

struct found_manifest {
  std::string path;  // relative to DIR
  manifest_version version;
  std::string folder_date;  // "2026-04-24" in the dated layout
};
using found_sink = std::function<void(found_manifest)>;

// Is told, as cannot_read, of each folder and each link in the place of one that cannot be looked
// into: nobody knows what manifests are there. `path` is relative to DIR.
using unreadable_sink = std::function<void(std::string const& path, error const&)>;

class manifest_folders {
 public:
  // `base` is DIR. Without a sink a folder that cannot be read is thrown and links that lead
  // nowhere are passed over.
  explicit manifest_folders(std::string base, unreadable_sink unreadable = nullptr);

  [[nodiscard]] std::vector<directory_entry> entries_of_base() {
    return files_->list_directory("");
  }
  // Nothing where `folder`, an entry at `path`, is none. Links are followed.
  [[nodiscard]] std::vector<directory_entry> entries_of(directory_entry const& folder,
                                                        std::string const& path);

  // Each DIR/YYYY/MM/DD, relative to DIR, with what lies in it; always three levels deep, so that
  // links cannot lead in circles.
  using day_sink =
      std::function<void(std::string const& path, std::vector<directory_entry> const& files)>;
  void for_each_day(day_sink const& each);
  // DIR/YYYY/MM/DD/NAME[.N].manifest.
  void for_each_dated(found_sink const& each);
  // .blockstore/manifests/NAME/N.manifest, as 0.1.x writes it.
  void for_each_old(found_sink const& each);

 private:
  [[nodiscard]] bool leads_to_folder(std::string const& path) const;

  std::string base_;
  std::unique_ptr<file_system> files_;
  unreadable_sink unreadable_;
};

// Whether it can be the name of a year, month or day with so many digits.
[[nodiscard]] bool is_number(std::string_view text, std::size_t digits) noexcept;

// The file name without ".manifest"; nullopt where it is no manifest's.
[[nodiscard]] std::optional<std::string_view> stem_of(directory_entry const& file);

}  // namespace diskdump
