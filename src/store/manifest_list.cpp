// Finds manifests in both layouts, and the one that a person means.
#include <algorithm>
#include <charconv>
#include <set>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"
#include "io/file_system.hpp"
#include "store/manifest.hpp"
#include "store/manifest_folders.hpp"

namespace diskdump {

namespace {

constexpr std::size_t suggestions_max = 3;

struct dated_entry {
  manifest_entry entry;
  std::int64_t seconds = 0;
};

// The folders of a year, month or day, the latest first.
std::vector<directory_entry> latest_first(std::vector<directory_entry> entries,
                                          std::size_t digits) {
  std::erase_if(entries, [digits](auto const& e) { return !is_number(e.name, digits); });
  std::ranges::sort(entries, std::ranges::greater(), &directory_entry::name);
  return entries;
}

// Among the files of one folder; with its path.
std::optional<std::string> newest_of_name(manifest_folders& folders, directory_entry const& folder,
                                          std::string const& path, std::string_view name) {
  std::optional<std::string> newest;
  std::uint32_t highest = 0;
  for (auto const& file : folders.entries_of(folder, path)) {
    auto const stem = stem_of(file);
    if (!stem) continue;
    auto const found = parse_manifest_stem(*stem);
    if (found.name != name || (newest && found.version < highest)) continue;
    highest = found.version;
    newest = path + "/" + file.name;
  }
  return newest;
}

std::vector<found_manifest> scan(std::string const& base, unreadable_sink const& unreadable) {
  manifest_folders folders(base, unreadable);
  std::vector<found_manifest> found;
  auto const keep = [&](found_manifest file) { found.push_back(std::move(file)); };
  folders.for_each_dated(keep);
  folders.for_each_old(keep);
  return found;
}

dated_entry read_entry(std::string const& base, found_manifest const& file) {
  manifest_reader const reader(base + "/" + file.path);
  auto const blocks = reader.header().geometry.blocks().value;
  if (reader.file_bytes() < reader.file_bytes_min()) {
    throw error(store_errc::damaged_manifest, severity::corruption)
        .path(reader.path())
        .cause(format("{} bytes cannot hold {} blocks", reader.file_bytes(), blocks))
        .remedy("restore this file from a backup, or use another manifest");
  }
  dated_entry read;
  read.entry.path = file.path;
  read.entry.name = file.version.name;
  read.entry.version = file.version.version;
  read.entry.header = reader.header();
  read.entry.file_bytes = reader.file_bytes();
  auto const seconds = iso_seconds(read.entry.header.date);
  read.seconds = seconds ? *seconds : iso_seconds(file.folder_date).value_or(0);
  return read;
}

std::vector<manifest_entry> read_sorted(
    std::string const& base, std::vector<found_manifest> const& found,
    std::function<void(std::string const&, error const&)> const& damaged) {
  std::vector<dated_entry> entries;
  for (auto const& file : found) {
    try {
      entries.push_back(read_entry(base, file));
    } catch (error const& failure) {
      // Deleted since the folder was read: not there, not damaged.
      if (is_gone(failure)) continue;
      if (damaged) damaged(file.path, failure);
    }
  }
  std::sort(entries.begin(), entries.end(), [](dated_entry const& a, dated_entry const& b) {
    auto const key = [](dated_entry const& e) {
      return std::tie(e.entry.name, e.seconds, e.entry.version, e.entry.path);
    };
    return key(a) < key(b);
  });
  std::vector<manifest_entry> sorted;
  sorted.reserve(entries.size());
  for (auto& e : entries) sorted.push_back(std::move(e.entry));
  return sorted;
}

// How many letters have to change; names are at most a few hundred bytes.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    auto diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      auto const replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

std::string near_misses(std::string_view name, std::vector<found_manifest> const& found) {
  std::set<std::string_view> names;
  for (auto const& file : found) names.insert(file.version.name);
  std::vector<std::pair<std::size_t, std::string_view>> ranked;
  for (auto const candidate : names) {
    bool const inside = candidate.find(name) != std::string_view::npos ||
                        name.find(candidate) != std::string_view::npos;
    auto const changes = inside ? 1 : distance(name.substr(0, limits::name_bytes_max), candidate);
    if (changes <= std::max<std::size_t>(2, name.size() / 4))
      ranked.emplace_back(changes, candidate);
  }
  std::sort(ranked.begin(), ranked.end());
  std::string text;
  for (std::size_t i = 0; i < ranked.size() && i < suggestions_max; ++i) {
    text += text.empty() ? "did you mean " : " or ";
    text += printable(ranked[i].second, limits::name_bytes_max);
  }
  return text.empty() ? text : text + "? ";
}

error no_such(std::string_view what, std::string_view cause, std::string const& hint) {
  return error(store_errc::no_such_manifest, severity::permanent)
      .path(printable(what, 300))
      .cause(cause)
      .remedy(hint + "diskdump list shows what there is");
}

bool is_file(file_system& files, std::string const& path) {
  try {
    return files.read(path, 0).has_value();
  } catch (error const&) {
    return false;  // a directory, a device, no permission: no manifest that we can read
  }
}

std::optional<std::string> find_path(std::string const& base, std::string_view what) {
  std::string const given(what);
  std::string const whole =
      what.ends_with(manifest_suffix) ? given : given + std::string(manifest_suffix);
  if (what.starts_with('/')) {
    auto const root = make_posix_file_system("/");
    for (auto const& path : {given, whole}) {
      if (is_file(*root, path.substr(path.find_first_not_of('/')))) return path;
    }
    return std::nullopt;
  }
  auto const files = make_posix_file_system(base);
  for (auto const& folder : {std::string(), std::string(old_layout) + "/"}) {
    // Without a slash and without the ending it is rather a name than a file.
    if (what.find('/') != std::string_view::npos && is_file(*files, folder + given)) {
      return base + "/" + folder + given;
    }
    if (is_file(*files, folder + whole)) return base + "/" + folder + whole;
  }
  return std::nullopt;
}

struct wanted_manifest {
  std::string_view name;
  std::size_t back = 0;   // NAME~N
  std::string_view date;  // NAME@DATE
};

wanted_manifest parse_wanted(std::string_view what) {
  auto const tilde = what.rfind('~');
  if (tilde != std::string_view::npos) {
    auto const digits = what.substr(tilde + 1);
    std::size_t back = 0;
    auto const [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), back);
    if (failed == std::errc() && end == digits.data() + digits.size()) {
      return {what.substr(0, tilde), back, {}};
    }
  }
  auto const at = what.rfind('@');
  if (at != std::string_view::npos && at + 1 < what.size()) {
    return {what.substr(0, at), 0, what.substr(at + 1)};
  }
  return {what, 0, {}};
}

}  // namespace

std::vector<manifest_entry> list_manifests(
    std::string const& base,
    std::function<void(std::string const& path, error const&)> const& damaged) {
  return read_sorted(base, scan(base, damaged), damaged);
}

std::optional<std::string> newest_manifest(std::string const& base, std::string_view name) {
  manifest_folders folders(base);
  for (auto const& year : latest_first(folders.entries_of_base(), 4)) {
    for (auto const& month : latest_first(folders.entries_of(year, year.name), 2)) {
      auto const month_path = year.name + "/" + month.name;
      for (auto const& day : latest_first(folders.entries_of(month, month_path), 2)) {
        auto const day_path = month_path + "/" + day.name;
        if (auto const found = newest_of_name(folders, day, day_path, name)) {
          return base + "/" + *found;
        }
      }
    }
  }
  std::optional<found_manifest> newest;
  folders.for_each_old([&](found_manifest file) {
    bool const later = !newest || file.version.version > newest->version.version;
    if (file.version.name == name && later) newest = std::move(file);
  });
  if (!newest) return std::nullopt;
  return base + "/" + newest->path;
}

std::string find_manifest(std::string const& base, std::string_view what) {
  if (what.empty() || what.find('\0') != std::string_view::npos) {
    throw no_such(what, "this is neither a path nor a name", "");
  }
  if (auto path = find_path(base, what)) return *path;
  if (what.starts_with('/')) throw no_such(what, "", "");

  // Where a link leads nowhere now, the newest of a name may still be here.
  auto const found = scan(base, nullptr);
  auto const known = [&](std::string_view name) {
    return std::any_of(found.begin(), found.end(),
                       [&](found_manifest const& f) { return f.version.name == name; });
  };
  // A name may hold an @ itself, so the whole is tried first.
  auto const wanted = known(what) ? wanted_manifest{what, 0, {}} : parse_wanted(what);
  if (!known(wanted.name)) {
    auto const cause = found.empty() ? "the store has no manifests" : "no manifest has this name";
    throw no_such(what, cause, near_misses(wanted.name, found));
  }
  std::vector<found_manifest> same_name;
  for (auto const& file : found) {
    if (file.version.name == wanted.name) same_name.push_back(file);
  }
  std::optional<error> first_damaged;
  auto entries = read_sorted(base, same_name, [&](std::string const&, error const& failure) {
    if (!first_damaged) first_damaged = failure;
  });
  // It may be the very one that is meant; to hand out an older image in silence would be worse.
  if (first_damaged) throw first_damaged->remedy("give the path of the manifest that you mean");
  if (!wanted.date.empty()) {
    std::erase_if(entries, [&](manifest_entry const& e) {
      return !std::string_view(e.header.date).starts_with(wanted.date);
    });
    if (entries.empty()) {
      throw no_such(what, format("no manifest of {} is from then", printable(wanted.name)), "");
    }
  }
  if (wanted.back >= entries.size()) {
    throw no_such(what, format("there are {} manifests of this name", entries.size()), "");
  }
  return base + "/" + entries[entries.size() - 1 - wanted.back].path;
}

}  // namespace diskdump
