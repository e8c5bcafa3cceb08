// How a manifest's name and version become a file name and back, and when a manifest was made.
// Internal to src/store; pure functions. FORMAT.md has the grammar.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace diskdump {

inline constexpr std::string_view manifest_suffix = ".manifest";

// Of a `# key: value` line. One without a key, or with a longer one, tells
// nothing to any reader.
inline constexpr std::size_t manifest_key_bytes_max = 255;

struct manifest_version {
  std::string name;
  std::uint32_t version = 1;
};

// The file name without ".manifest". Version 1 of "foo" is "foo" and version 2 is "foo.2"; a name
// that itself ends like a version always carries one: version 1 of "foo.2" is "foo.2.1".
// Invariant: parse_manifest_stem(manifest_stem(n, v)) == {n, v} for every name and version.
[[nodiscard]] std::string manifest_stem(std::string_view name, std::uint32_t version);
[[nodiscard]] manifest_version parse_manifest_stem(std::string_view stem);

// Seconds since 1970 of an ISO 8601 date, with or without time and zone (UTC where none is given);
// nullopt where it is none.
[[nodiscard]] std::optional<std::int64_t> iso_seconds(std::string_view date) noexcept;

}  // namespace diskdump
