// What can go wrong with a benchmark, beyond what fails in the parts that it measures.
#pragma once

#include "base/error.hpp"

namespace diskdump {

enum class bench_errc {
  folder_not_empty = 1,  // a store's DIR holds something already
  folder_busy,           // another benchmark is in it
  no_room,               // images or blocks would not fit
  wrong_counts,          // the pipeline counted other blocks than were made
  wrong_image,           // what came back from the store is not what was dumped
  unsuitable_source,     // not a regular file, or an empty one
};
[[nodiscard]] std::string_view sentence(bench_errc e) noexcept;
[[nodiscard]] inline char const* module_name(bench_errc) noexcept { return "bench"; }

}  // namespace diskdump

template <>
struct std::is_error_code_enum<diskdump::bench_errc> : std::true_type {};
