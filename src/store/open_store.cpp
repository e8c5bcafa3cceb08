// Opens or makes a store: what is there is checked before anything is changed.
#include <sys/stat.h>

#include <cerrno>

#include "base/assert.hpp"
#include "base/format.hpp"
#include "io/io_errc.hpp"
#include "store/block_store.hpp"
#include "store/config.hpp"
#include "store/lock_file.hpp"
#include "store/loose_store.hpp"
#include "store/pack_store.hpp"
#include "store/store_error.hpp"
#include "store/store_parts.hpp"
#include "store/unsynced.hpp"

namespace diskdump {

namespace {

error not_a_store(std::string const& base, std::string_view cause) {
  return error(store_errc::not_a_store, severity::permanent)
      .path(base)
      .cause(cause)
      .remedy("name the folder of the store with --base; the first dump makes one");
}

bool is_directory(std::string const& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) == 0) return S_ISDIR(status.st_mode);
  // What we may not look at may well be a store.
  if (errno != ENOENT && errno != ENOTDIR) {
    throw disk_error(errno, io_direction::read, "stat", path);
  }
  return false;
}

// Only the last part: a typing error further up should not make a tree.
void make_directory(std::string const& path) {
  if (::mkdir(path.c_str(), 0777) != 0 && errno != EEXIST) {
    throw cannot_write(errno, "mkdir", path);
  }
}

void find_folders(std::string const& base, std::string const& blockstore, bool create) {
  if (!is_directory(base)) {
    if (!create) throw not_a_store(base, "there is no such folder");
    make_directory(base);
  }
  if (!is_directory(blockstore)) {
    if (!create) throw not_a_store(base, "it has no folder .blockstore");
    make_directory(blockstore);
  }
}

void say(log_sink* log, std::string_view line) {
  if (log != nullptr) log->info(line);
}

void make_scratch(store_parts& parts) {
  if (parts.scratch) return;
  parts.scratch = std::make_unique<scratch_folder>(parts.blockstore, *parts.files, parts.layout);
}

store_config open_config(store_parts& parts, store_open_options const& options) {
  auto const shown = parts.blockstore + "/config.json";
  auto config = read_config(*parts.files, parts.layout, shown);
  if (config) return *config;
  if (!options.create_block_bytes || options.read_only) {
    throw not_a_store(parts.blockstore, "it has no config.json");
  }
  make_scratch(parts);
  create_config(*parts.files, parts.layout, parts.scratch->next_path(),
                {*options.create_block_bytes, options.create_format});
  // Another process may have been faster; then its block size holds.
  config = read_config(*parts.files, parts.layout, shown);
  if (!config) throw not_a_store(parts.blockstore, "config.json was removed meanwhile");
  return *config;
}

void open_index(store_parts& parts, store_open_options const& options) {
  std::uint64_t rebuilt = 0;
  auto const fill = [&](std::function<void(stored_block const&)> const& row) {
    if (!options.fill_absent_index) return;
    parts.shelf->walk(row);
    // A row must never be there before its block is.
    if (parts.level == durability::barrier) {
      writing([&] { parts.files->sync(sync_scope::file_system, ""); });
    } else {
      note_unsynced(*parts.files, parts.layout);
    }
  };
  auto const path = index_path(parts.blockstore, parts.format);
  parts.index = std::make_unique<store_index>(
      index_options{path, parts.format, options.read_only, options.level == durability::barrier,
                    options.index_wait_max},
      fill, rebuilt);
  parts.shelf->use(*parts.index);
  if (rebuilt > 0) {
    say(options.log,
        format("{} was missing: built again from {} blocks (diskdump verify checks what is in "
               "them)",
               path, rebuilt));
  }
}

std::unique_ptr<block_shelf> make_shelf(store_parts const& parts) {
  if (parts.format == store_format::loose) return make_loose_shelf(*parts.files, parts.layout);
  return make_pack_shelf(*parts.files, parts.layout, parts.blockstore, parts.level,
                         parts.read_only);
}

}  // namespace

void store_parts::check_writable() const {
  if (!read_only) return;
  throw error(store_errc::cannot_write, severity::permanent)
      .path(blockstore)
      .cause("the store was opened for reading only");
}

std::string index_path(std::string const& blockstore, store_format of) {
  return blockstore + (of == store_format::loose ? "/blocks.db" : "/packs.db");
}

store_parts open_parts(std::string const& base, store_open_options const& options) {
  DISKDUMP_ASSERT(
      !options.create_block_bytes ||
      (*options.create_block_bytes >= 1 && *options.create_block_bytes <= limits::block_bytes_max));
  store_parts parts;
  parts.blockstore = base + "/.blockstore";
  find_folders(base, parts.blockstore, options.create_block_bytes && !options.read_only);
  if (options.files != nullptr) {
    parts.files = options.files;
    parts.layout = store_layout(".blockstore/");
  } else {
    // Rooted at .blockstore itself, which may be a mount or a link: syncfs has to reach it.
    parts.owned_files = make_posix_file_system(parts.blockstore);
    parts.files = parts.owned_files.get();
  }
  parts.level = options.level;
  parts.read_only = options.read_only;
  auto const config = open_config(parts, options);
  parts.format = config.format;
  parts.properties = {std::string(name_of(config.format)), config.block_bytes,
                      options.level == durability::barrier, true};
  parts.shelf = make_shelf(parts);

  if (options.read_only) {
    open_index(parts, options);
    return parts;
  }
  {
    // One process at a time makes or rebuilds the index; the others find it ready.
    auto const lock = lock_file::wait_for(parts.blockstore + "/open.lock");
    open_index(parts, options);
  }
  make_scratch(parts);
  warn_of_unsynced(*parts.files, parts.layout, options.log);
  parts.room = std::make_unique<held_room>(*parts.files, *parts.scratch, parts.blockstore);
  if (auto const removed = clean_scratch(parts.blockstore, *parts.files, parts.layout)) {
    say(options.log, format("removed the temporary files of {} dumps that were cut off", removed));
  }
  return parts;
}

void check_is_store(std::string const& base) {
  auto const blockstore = base + "/.blockstore";
  find_folders(base, blockstore, false);
  auto const files = make_posix_file_system(blockstore);
  auto const shown = blockstore + "/config.json";
  if (!read_config(*files, store_layout(""), shown)) {
    throw not_a_store(blockstore, "it has no config.json");
  }
}

std::unique_ptr<block_store> open_store(std::string const& base,
                                        store_open_options const& options) {
  auto parts = open_parts(base, options);
  if (parts.format == store_format::pack) return std::make_unique<pack_store>(std::move(parts));
  return std::make_unique<loose_store>(std::move(parts));
}

}  // namespace diskdump
