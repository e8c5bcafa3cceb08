#include "store/lease.hpp"

#include <unistd.h>

#include <algorithm>

#include "base/clock.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"
#include "io/file_system.hpp"
#include "io/io_errc.hpp"
#include "store/store_parts.hpp"

namespace diskdump {

namespace {

constexpr std::string_view lease_suffix = ".lease";

std::string leases_folder(std::string const& base) { return base + "/.blockstore/leases"; }

std::string lease_text(std::string_view text) {
  return format("{}\nprocess {}\nsince {}\n", text, ::getpid(),
                iso_time(system_clock_source().wall_now()));
}

}  // namespace

dump_lease::dump_lease(std::string const& base, std::string_view text)
    : file_(lock_file::create(leases_folder(base), lease_suffix, lease_text(text))) {
  (void)held_leases(base);
}

leased_store open_leased_store(std::string const& base, store_open_options const& options,
                               std::string_view text) {
  auto const exists = [&base](char const* name) {
    return ::access((base + name).c_str(), F_OK) == 0;
  };
  // What is no store of ours is refused before anything is changed. One that another process is
  // making right now may have no index yet.
  if (exists("/.blockstore/config.json")) check_is_store(base);
  if (!exists("/.blockstore")) {
    // Nobody can take the index of a new store for a damaged one.
    auto store = open_store(base, options);
    return {dump_lease(base, text), std::move(store)};
  }
  dump_lease lease(base, text);
  auto store = open_store(base, options);
  return {std::move(lease), std::move(store)};
}

std::string lease_purpose(std::string const& base, std::string_view id) {
  auto const path = format(".blockstore/leases/{}{}", id, lease_suffix);
  try {
    auto const bytes = make_posix_file_system(base)->read(path, limits::lease_bytes_max);
    if (!bytes) return {};
    auto const text = as_text(*bytes);
    return printable(text.substr(0, text.find('\n')), limits::path_bytes_max);
  } catch (error const&) {
    return std::string(id);  // it is there, and we may not look
  }
}

std::vector<std::string> held_leases(std::string const& base) {
  auto const folder = leases_folder(base);
  std::vector<std::string> held;
  for (auto const& entry : make_posix_file_system(base)->list_directory(".blockstore/leases")) {
    if (!entry.name.ends_with(lease_suffix)) continue;
    auto const path = folder + "/" + entry.name;
    if (lock_file::take_stale(path)) continue;  // and removed it
    // Not taken: its owner lives, or has just ended and removed it, or we may not look.
    if (::access(path.c_str(), F_OK) != 0) continue;
    held.push_back(entry.name.substr(0, entry.name.size() - lease_suffix.size()));
  }
  std::sort(held.begin(), held.end());
  return held;
}

}  // namespace diskdump
