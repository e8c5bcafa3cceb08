#include <cstdio>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "cli/commands.hpp"
#include "cli/json_reports.hpp"
#include "cli/name_patterns.hpp"
#include "cli/text.hpp"
#include "store/inventory.hpp"

namespace diskdump {

exit_code run_verb(global_options const& global, diff_arguments const& arguments) {
  auto const store = open_store(global.base, {.read_only = true});
  auto const before = find_manifest(global.base, arguments.before);
  auto const after = find_manifest(global.base, arguments.after);
  manifest_reader one(before, *store);
  manifest_reader other(after, *store);
  auto const bytes_before = one.header().geometry.image_bytes;
  auto const bytes_after = other.header().geometry.image_bytes;

  bool const show = global.json || !global.quiet;
  std::uint64_t listed = 0;
  auto const total =
      compare_images(std::move(one), std::move(other), [&](changed_range const& range) {
        if (!show || (!arguments.all && listed >= limits::diff_ranges_shown_max)) return;
        ++listed;
        if (global.json) {
          json_range_event(range);
        } else {
          std::printf("%s\n", format("{:>16} + {:<14} {}", range.offset_bytes, range.length_bytes,
                                     size_text(range.length_bytes))
                                  .c_str());
        }
      });
  auto const shown_before = shown_manifest(global.base, before);
  auto const shown_after = shown_manifest(global.base, after);
  if (global.json) {
    json_diff_event({shown_before, shown_after, bytes_before, bytes_after, total, listed});
    return exit_code::ok;
  }
  if (global.quiet) return exit_code::ok;
  if (listed < total.ranges) {
    std::printf("%s\n", format("… and {} more ranges (--all)", total.ranges - listed).c_str());
  }
  std::printf("%s\n", format("{} -> {}: {} in {} ranges differ, of {}{}", shown_before, shown_after,
                             size_text(total.bytes), total.ranges,
                             size_text(std::max(bytes_before, bytes_after)),
                             bytes_before == bytes_after
                                 ? ""
                                 : format("; the sizes are {} and {}", bytes_before, bytes_after))
                          .c_str());
  return exit_code::ok;
}

}  // namespace diskdump
