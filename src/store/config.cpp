#include "store/config.hpp"

#include <nlohmann/json.hpp>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"
#include "store/store_error.hpp"

namespace diskdump {

namespace {

// Version 1 is that of 0.1.x, for which a store of packs would be an empty one of its own.
constexpr int loose_version = 1;
constexpr int pack_version = 2;
constexpr std::string_view config_hash = "sha256";

error bad_config(store_errc code, std::string const& shown, std::string_view cause,
                 std::string_view remedy) {
  return error(code, severity::permanent).path(shown).cause(cause).remedy(remedy);
}

}  // namespace

std::optional<store_config> read_config(file_system& files, store_layout const& layout,
                                        std::string const& shown) {
  auto const bytes = files.read(layout.config(), limits::config_bytes_max + 1);
  if (!bytes) return std::nullopt;
  auto const damaged = [&](std::string_view cause) {
    return bad_config(store_errc::not_a_store, shown, cause,
                      "restore config.json from a backup, or write {\"block_size\": 131072, "
                      "\"hash_algo\": \"sha256\", \"version\": 1} to it");
  };
  if (bytes->size() > limits::config_bytes_max) throw damaged("config.json is too long");
  auto const json = nlohmann::json::parse(as_text(*bytes), nullptr, false);
  if (!json.is_object()) throw damaged("config.json is not a JSON object");

  auto const version = json.find("version");
  if (version == json.end() || !version->is_number_integer()) throw damaged("it has no version");
  if (*version != loose_version && *version != pack_version) {
    throw bad_config(
        store_errc::unsupported_store, shown,
        format("version {} instead of {} or {}", version->dump(), loose_version, pack_version),
        "use a newer diskdump");
  }
  auto const kind = *version == pack_version ? store_format::pack : store_format::loose;
  // Version 2 always names its format.
  auto const unnamed = kind == store_format::loose ? nlohmann::json("loose") : nlohmann::json();
  auto const named = json.value("format", unnamed);
  if (!named.is_string() || named.get<std::string>() != name_of(kind)) {
    throw bad_config(
        store_errc::unsupported_store, shown,
        format("format {} with version {}", printable(named.dump(), 40), version->dump()),
        "use a newer diskdump");
  }
  auto const hash = json.find("hash_algo");
  if (hash == json.end() || !hash->is_string()) throw damaged("it has no hash_algo");
  if (*hash != config_hash) {
    throw bad_config(
        store_errc::unsupported_store, shown,
        format("hash_algo {} instead of {}", printable(hash->get<std::string>(), 40), config_hash),
        "use the diskdump that made the store");
  }
  auto const block_size = json.find("block_size");
  if (block_size == json.end() || !block_size->is_number_integer()) {
    throw damaged("it has no block_size");
  }
  // Stores of 0.1.x may have any size; what a new one may have is checked where it is made.
  if (*block_size < 1 || *block_size > limits::block_bytes_max) {
    throw bad_config(store_errc::unsupported_store, shown,
                     format("block_size {} is not between 1 and {}", block_size->dump(),
                            limits::block_bytes_max),
                     "use the diskdump that made the store");
  }
  return store_config{block_size->get<std::uint32_t>(), kind};
}

void create_config(file_system& files, store_layout const& layout, std::string const& temporary,
                   store_config const& config) {
  auto const text =
      config.format == store_format::loose
          ? format("{{\n  \"block_size\": {},\n  \"hash_algo\": \"{}\",\n  \"version\": {}\n}}",
                   config.block_bytes, config_hash, loose_version)
          : format(
                "{{\n  \"block_size\": {},\n  \"format\": \"{}\",\n  \"hash_algo\": "
                "\"{}\",\n  \"version\": {}\n}}",
                config.block_bytes, name_of(config.format), config_hash, pack_version);
  writing([&] {
    (void)files.create_exclusive(temporary, as_bytes(text));
    files.sync(sync_scope::file, temporary);
    if (!files.rename_noreplace(temporary, layout.config())) (void)files.remove(temporary);
    auto const folder = layout.in("");
    files.sync(sync_scope::directory,
               folder.empty() ? folder : folder.substr(0, folder.size() - 1));
  });
}

}  // namespace diskdump
