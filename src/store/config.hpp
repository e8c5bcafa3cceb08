// .blockstore/config.json: what a store was made with. Internal to src/store.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "io/file_system.hpp"
#include "store/block_store.hpp"
#include "store/layout.hpp"

namespace diskdump {

struct store_config {
  std::uint32_t block_bytes = 0;
  store_format format = store_format::loose;
};

// nullopt where there is no config.json. Throws not_a_store or unsupported_store for one that is
// not ours. `shown` is its path for messages.
[[nodiscard]] std::optional<store_config> read_config(file_system& files,
                                                      store_layout const& layout,
                                                      std::string const& shown);

// Writes config.json, for a loose store as 0.1.x does, unless another process was faster; the
// caller reads it again. `temporary` is a free path in the same file system. Durable when it
// returns.
void create_config(file_system& files, store_layout const& layout, std::string const& temporary,
                   store_config const& config);

}  // namespace diskdump
