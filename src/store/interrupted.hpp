// Dumps that were interrupted and can be continued: DIR/.blockstore/interrupted/NAME.part, a
// manifest that ends before its time. `total_size` is that of the whole image, each digest stands
// for a block that was in the store when the file was made, or was on its way there: whoever goes
// on asks the store about each. gc keeps what they name for limits::interrupted_keep. Blocking;
// any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/manifest.hpp"

namespace diskdump {

inline constexpr std::string_view interrupted_folder = "interrupted";

// What identifies the source, as a comment behind the digests; a file without it is not whole.
inline constexpr std::string_view identity_key = "source_identity";
// A range that could not be read, "OFFSET LENGTH" in bytes.
inline constexpr std::string_view bad_range_key = "bad_range";
// In the manifest of a dump that was continued: when it began, and the block it went on with.
inline constexpr std::string_view resumed_key = "resumed";

// Relative to .blockstore.
[[nodiscard]] std::string interrupted_file(std::string_view name);

// The interrupted dump of this name; nullopt where there is none. Throws as manifest_reader.
[[nodiscard]] std::optional<manifest_reader> open_interrupted(std::string const& base,
                                                              std::string_view name,
                                                              list_source lists = {});

// The names of all interrupted dumps.
[[nodiscard]] std::vector<std::string> list_interrupted(std::string const& base);

// Removes it, if it is there: the dump was continued to its end, or another took its place. Not
// durable; what comes back by a power cut does no harm. Throws cannot_write.
void forget_interrupted(std::string const& base, std::string_view name);

// Removes those that were not touched for limits::interrupted_keep; returns how many.
std::size_t expire_interrupted(std::string const& base);

// Removes copies of manifests that a writer which died was making beside their place, because
// .blockstore is on another file system (FORMAT.md); returns how many. What cannot be looked into
// or removed stays until next time. `blockstore` is its real path.
std::size_t remove_dead_copies(std::string const& base, std::string const& blockstore);

}  // namespace diskdump
