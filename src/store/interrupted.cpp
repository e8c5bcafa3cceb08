#include "store/interrupted.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>

#include "base/limits.hpp"
#include "store/lock_file.hpp"
#include "store/manifest_folders.hpp"
#include "store/scratch.hpp"
#include "store/store_error.hpp"

namespace diskdump {

namespace {

// Not ".manifest": neither we nor 0.1.x shall take it for a whole one.
constexpr std::string_view part_suffix = ".part";

std::string path_of(std::string const& base, std::string_view name) {
  return base + "/.blockstore/" + interrupted_file(name);
}

}  // namespace

std::string interrupted_file(std::string_view name) {
  return std::string(interrupted_folder) + "/" + std::string(name) + std::string(part_suffix);
}

std::optional<manifest_reader> open_interrupted(std::string const& base, std::string_view name,
                                                list_source lists) {
  try {
    return manifest_reader(path_of(base, name), std::move(lists), manifest_extent::interrupted);
  } catch (error const& failure) {
    if (is_gone(failure)) return std::nullopt;
    throw;
  }
}

std::vector<std::string> list_interrupted(std::string const& base) {
  std::vector<std::string> names;
  std::error_code absent;
  for (auto const& entry : std::filesystem::directory_iterator(
           base + "/.blockstore/" + std::string(interrupted_folder), absent)) {
    auto name = entry.path().filename().string();
    if (!name.ends_with(part_suffix)) continue;
    name.resize(name.size() - part_suffix.size());
    names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

void forget_interrupted(std::string const& base, std::string_view name) {
  auto const path = path_of(base, name);
  if (::unlink(path.c_str()) == 0 || errno == ENOENT || errno == ENOTDIR) return;
  throw cannot_write(errno, "unlink", path);
}

std::size_t expire_interrupted(std::string const& base) {
  std::size_t removed = 0;
  auto const now = std::chrono::system_clock::now();
  for (auto const& name : list_interrupted(base)) {
    struct stat status{};
    if (::stat(path_of(base, name).c_str(), &status) != 0) continue;
    auto const changed = std::chrono::system_clock::from_time_t(status.st_mtime);
    if (now - changed < limits::interrupted_keep) continue;
    forget_interrupted(base, name);
    ++removed;
  }
  return removed;
}

std::size_t remove_dead_copies(std::string const& base, std::string const& blockstore) {
  constexpr std::string_view begin = ".";
  constexpr std::string_view end = ".tmp";
  std::size_t removed = 0;
  auto const unreadable = [](std::string const&, error const&) {};
  manifest_folders(base, unreadable)
      .for_each_day([&](std::string const& path, std::vector<directory_entry> const& files) {
        for (auto const& file : files) {
          std::string_view owner = file.name;
          if (file.kind != entry_kind::file || !owner.starts_with(begin) || !owner.ends_with(end)) {
            continue;
          }
          owner = owner.substr(begin.size(), owner.size() - begin.size() - end.size());
          // Somebody else's hidden files are none of our business.
          if (!is_unique_stem(owner) || scratch_owner_lives(blockstore, std::string(owner))) {
            continue;
          }
          if (::unlink((base + "/" + path + "/" + file.name).c_str()) == 0) ++removed;
        }
      });
  return removed;
}

}  // namespace diskdump
