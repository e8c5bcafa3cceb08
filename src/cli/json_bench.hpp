// --json of bench: one object per line on stdout (README.md has the fields).
#pragma once

#include "bench/report.hpp"

namespace diskdump {

void json_bench_start(bench_report const& report);
void json_bench_phase(store_report const& store, phase_report const& phase);
void json_bench_summary(bench_report const& report, double seconds);

}  // namespace diskdump
