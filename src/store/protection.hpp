// Manifests that a person has set apart: prune never removes them. The mark is an empty file
// .blockstore/protected/<path of the manifest relative to DIR>.protected, so it survives the loss
// of blocks.db, and 0.1.x passes it over. Blocking; any thread.
#pragma once

#include <set>
#include <string>

#include "io/file_system.hpp"

namespace diskdump {

// The path relative to DIR of a manifest that find_manifest() gave. Throws no_such_manifest for one
// that does not lie below DIR.
[[nodiscard]] std::string manifest_below(std::string const& base, std::string const& path);

// `path` is relative to DIR. True if it was not protected before; durable when it returns. Throws
// cannot_write. `files`, rooted at DIR; nullptr: the real one.
bool protect_manifest(std::string const& base, std::string const& path,
                      file_system* files = nullptr);
// True if it was protected before.
bool unprotect_manifest(std::string const& base, std::string const& path,
                        file_system* files = nullptr);

// Protected now? For the moment before it would be removed.
[[nodiscard]] bool is_protected(file_system& files, std::string const& path);

// The paths of all protected manifests, relative to DIR; those that are gone as well.
[[nodiscard]] std::set<std::string> protected_manifests(std::string const& base);

}  // namespace diskdump
