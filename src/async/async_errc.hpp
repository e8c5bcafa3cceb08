#pragma once

#include "base/error.hpp"

namespace diskdump {

enum class async_errc {
  channel_broken = 1,  // the other half of a channel went away without finishing
  timed_out,
};
[[nodiscard]] std::string_view sentence(async_errc e) noexcept;
[[nodiscard]] inline char const* module_name(async_errc) noexcept { return "async"; }

}  // namespace diskdump
