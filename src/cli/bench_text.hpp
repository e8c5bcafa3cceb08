// What a benchmark found, for people: a table for the terminal, a page for a browser. Pure. Texts
// from outside are made harmless for where they go.
#pragma once

#include <string>

#include "bench/report.hpp"

namespace diskdump {

// "2 images of 1.0 GiB in blocks of 128.0 KiB: 20 % zeros, …"
[[nodiscard]] std::string bench_subject(bench_report const& report);
// "first dump", "5 % changed", …
[[nodiscard]] std::string phase_text(bench_phase which);

// Lines with their ends, at most 100 columns but for the reasons of bottlenecks.
[[nodiscard]] std::string bench_table(bench_report const& report);

// One HTML document that needs nothing else, for wide and narrow screens, light and dark.
[[nodiscard]] std::string bench_page(bench_report const& report);

}  // namespace diskdump
