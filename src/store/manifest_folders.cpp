#include "store/manifest_folders.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>

#include "io/io_errc.hpp"
#include "store/store_error.hpp"

namespace diskdump {

bool is_number(std::string_view text, std::size_t digits) noexcept {
  return text.size() == digits &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::optional<std::string_view> stem_of(directory_entry const& file) {
  std::string_view name = file.name;
  if (file.kind == entry_kind::directory || name.starts_with('.')) return std::nullopt;
  if (!name.ends_with(manifest_suffix)) return std::nullopt;
  name.remove_suffix(manifest_suffix.size());
  return name.empty() ? std::nullopt : std::optional(name);
}

manifest_folders::manifest_folders(std::string base, unreadable_sink unreadable)
    : base_(std::move(base)),
      files_(make_posix_file_system(base_)),
      unreadable_(std::move(unreadable)) {}

// Of something that `other` stands for, mostly a symbolic link. What is behind one that leads
// nowhere now, as it is with a mount that is away, is not known; listing it would give nothing.
bool manifest_folders::leads_to_folder(std::string const& path) const {
  auto const whole = base_ + "/" + path;
  struct stat status{};
  if (::stat(whole.c_str(), &status) == 0) return S_ISDIR(status.st_mode);
  auto const failure = disk_error(errno, io_direction::open, "stat", whole);
  bool const removed = ::lstat(whole.c_str(), &status) != 0 && errno == ENOENT;
  if (removed) return false;
  throw failure;
}

std::vector<directory_entry> manifest_folders::entries_of(directory_entry const& folder,
                                                          std::string const& path) {
  if (folder.kind == entry_kind::file) return {};
  try {
    if (folder.kind == entry_kind::other && !leads_to_folder(path)) return {};
    return files_->list_directory(path);
  } catch (error const& failure) {
    if (unreadable_) {
      unreadable_(path, as_cannot_read(failure));
    } else if (folder.kind == entry_kind::directory) {
      throw;
    }
    return {};
  }
}

void manifest_folders::for_each_day(day_sink const& each) {
  for (auto const& year : entries_of_base()) {
    if (!is_number(year.name, 4)) continue;
    for (auto const& month : entries_of(year, year.name)) {
      auto const month_path = year.name + "/" + month.name;
      if (!is_number(month.name, 2)) continue;
      for (auto const& day : entries_of(month, month_path)) {
        auto const day_path = month_path + "/" + day.name;
        if (is_number(day.name, 2)) each(day_path, entries_of(day, day_path));
      }
    }
  }
}

void manifest_folders::for_each_dated(found_sink const& each) {
  for_each_day([&](std::string const& path, std::vector<directory_entry> const& files) {
    auto date = path;
    std::ranges::replace(date, '/', '-');
    for (auto const& file : files) {
      auto const stem = stem_of(file);
      if (stem) each({path + "/" + file.name, parse_manifest_stem(*stem), date});
    }
  });
}

void manifest_folders::for_each_old(found_sink const& each) {
  std::string const top(old_layout);
  std::error_code absent;
  bool const is_link = std::filesystem::is_symlink(base_ + "/" + top, absent);
  directory_entry const folder{.name = top,
                               .kind = is_link ? entry_kind::other : entry_kind::directory};
  for (auto const& name : entries_of(folder, top)) {
    auto const path = top + "/" + name.name;
    for (auto const& file : entries_of(name, path)) {
      auto const stem = stem_of(file);
      if (!stem) continue;
      std::uint32_t number = 0;
      auto const [end, failed] = std::from_chars(stem->data(), stem->data() + stem->size(), number);
      if (failed != std::errc() || end != stem->data() + stem->size()) continue;
      each({path + "/" + file.name, {name.name, number}, ""});
    }
  }
}

}  // namespace diskdump
