#include "store/unsynced.hpp"

#include <fstream>

#include "base/bytes.hpp"
#include "base/format.hpp"
#include "store/lease.hpp"
#include "store/store_error.hpp"

namespace diskdump {

namespace {

constexpr std::string_view note_name = "unsynced";
constexpr std::size_t boot_id_bytes_max = 64;

// Random, made by the kernel as it starts (random(4)).
std::string this_boot() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

}  // namespace

unsynced find_unsynced(file_system& files, store_layout const& layout) {
  auto const note = files.read(layout.in(note_name), boot_id_bytes_max);
  if (!note) return unsynced::none;
  // One that a power cut has emptied is of an earlier boot as well.
  return as_text(*note) == this_boot() ? unsynced::of_this_boot : unsynced::of_earlier_boot;
}

void note_unsynced(file_system& files, store_layout const& layout) {
  writing([&] {
    if (!files.create_exclusive(layout.in(note_name), as_bytes(this_boot()))) return;
    files.sync(sync_scope::file, layout.in(note_name));
    files.sync(sync_scope::directory, layout.in(""));
  });
}

void secure_unsynced(file_system& files, store_layout const& layout) {
  if (find_unsynced(files, layout) == unsynced::none) return;
  writing([&] { files.sync(sync_scope::file_system, ""); });
}

void warn_of_unsynced(file_system& files, store_layout const& layout, log_sink* log) {
  if (log == nullptr || find_unsynced(files, layout) != unsynced::of_earlier_boot) return;
  log->warning(
      "a dump with --durability none may not have been on the disk when this machine went down: "
      "run diskdump verify, or later images may name blocks that are lost");
}

void forget_unsynced(file_system& files, store_layout const& layout, std::string const& base,
                     std::size_t own_leases) {
  if (find_unsynced(files, layout) == unsynced::none) return;
  if (held_leases(base).size() > own_leases) return;
  writing([&] {
    files.sync(sync_scope::file_system, "");
    (void)files.remove(layout.in(note_name));
  });
  // One that began meanwhile may have seen the note and left it at that.
  if (held_leases(base).size() > own_leases) note_unsynced(files, layout);
}

}  // namespace diskdump
