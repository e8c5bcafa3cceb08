// How much a dump may take of the machines and links that others work with: the options, and their
// checks.
#pragma once

#include <optional>
#include <string>

#include "cli/option_set.hpp"
#include "cli/options.hpp"

namespace diskdump {

struct raw_load {
  std::optional<std::string> read_limit, read_limit_total, wire_limit, wire_limit_total;
  std::optional<std::uint64_t> agent_threads;
  bool nice = false;
};

void declare_load(option_set& options, raw_load& raw);
// Throws usage_error.
void finish_load(raw_load const& raw, dump_arguments& arguments);

// Whether every target shows life often enough at these rates. Throws usage_error. Once the size of
// the blocks is known, which may be the store's.
void check_load(dump_arguments const& arguments, std::uint32_t block_bytes);

}  // namespace diskdump
