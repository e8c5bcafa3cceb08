// What no manifest names, for gc: rows, and files that have none. Files and index are gone through
// side by side on several threads, a part of all digests at a time. Blocking. Internal to
// src/store.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "store/manifest_marks.hpp"
#include "store/monitor.hpp"
#include "store/store_parts.hpp"

namespace diskdump {

// Given what was found, about limits::index_rows_per_step at a time; one call at a time of both.
struct unneeded_steps {
  std::function<void(std::span<store_index::row_run const>)> rows;
  // What neither a row nor a manifest knows: of dumps that were cut off, or that run now.
  std::function<void(std::span<stored_block const>)> strays;
};

// What is put or condemned meanwhile may or may not be seen. Returns how many rows there were of
// blocks that a manifest names. Ends early when the monitor says stop.
std::uint64_t find_unneeded(store_parts const& parts, manifest_marks const& marks, unsigned threads,
                            work_monitor& monitor, unneeded_steps const& steps);

}  // namespace diskdump
