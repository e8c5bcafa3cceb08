#include "store/protection.hpp"

#include <filesystem>
#include <memory>

#include "store/block_store.hpp"
#include "store/store_error.hpp"

namespace diskdump {

namespace {

namespace fs = std::filesystem;

// Of folders below protected/: the layouts need four; people may have moved a manifest deeper.
constexpr unsigned depth_max = 64;
constexpr std::string_view marks_folder = ".blockstore/protected";
constexpr std::string_view mark_suffix = ".protected";

std::string mark_of(std::string const& path) {
  return std::string(marks_folder) + "/" + path + std::string(mark_suffix);
}

std::string folder_of(std::string const& path) {
  auto const slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

// The names in `folder` and in those above it, up to .blockstore: others may have made them a
// moment ago and not synced them yet.
void sync_up(file_system& files, std::string folder) {
  while (!folder.empty()) {
    files.sync(sync_scope::directory, folder);
    folder = folder_of(folder);
  }
}

class opened_files {
 public:
  opened_files(std::string const& base, file_system* given)
      : owned_(given == nullptr ? make_posix_file_system(base) : nullptr),
        files_(given == nullptr ? *owned_ : *given) {}
  [[nodiscard]] file_system& operator*() const noexcept { return files_; }

 private:
  std::unique_ptr<file_system> owned_;
  file_system& files_;
};

void collect_marks(file_system& files, std::string const& folder, unsigned depth,
                   std::set<std::string>& found) {
  for (auto const& entry : files.list_directory(folder)) {
    auto const path = folder + "/" + entry.name;
    if (entry.kind == entry_kind::directory && depth < depth_max) {
      collect_marks(files, path, depth + 1, found);
    } else if (entry.kind == entry_kind::file && entry.name.ends_with(mark_suffix)) {
      found.insert(path.substr(marks_folder.size() + 1,
                               path.size() - marks_folder.size() - 1 - mark_suffix.size()));
    }
  }
}

}  // namespace

std::string manifest_below(std::string const& base, std::string const& path) {
  // The folders with their links resolved, the file as it is called.
  auto const root = fs::weakly_canonical(base);
  auto const folder = fs::weakly_canonical(fs::absolute(path).parent_path());
  auto const below = (folder / fs::path(path).filename()).lexically_relative(root);
  if (below.empty() || *below.begin() == "..") {
    throw error(store_errc::no_such_manifest, severity::permanent)
        .path(path)
        .cause("it does not lie in this store")
        .remedy("name the store of this manifest with --base");
  }
  return below.string();
}

bool protect_manifest(std::string const& base, std::string const& path, file_system* given) {
  opened_files const files(base, given);
  return writing([&] {
    auto const mark = mark_of(path);
    (*files).make_directories(folder_of(mark));
    bool const made = (*files).create_exclusive(mark, {});
    sync_up(*files, folder_of(mark));
    return made;
  });
}

bool unprotect_manifest(std::string const& base, std::string const& path, file_system* given) {
  opened_files const files(base, given);
  return writing([&] {
    auto const mark = mark_of(path);
    if (!(*files).remove(mark)) return false;
    (*files).sync(sync_scope::directory, folder_of(mark));
    return true;
  });
}

bool is_protected(file_system& files, std::string const& path) {
  return files.read(mark_of(path), 0).has_value();
}

std::set<std::string> protected_manifests(std::string const& base) {
  std::set<std::string> found;
  collect_marks(*make_posix_file_system(base), std::string(marks_folder), 0, found);
  return found;
}

}  // namespace diskdump
