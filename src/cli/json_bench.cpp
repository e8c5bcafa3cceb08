#include "cli/json_bench.hpp"

#include "cli/json_value.hpp"

namespace diskdump {

namespace {

template <class Value>
json known(std::optional<Value> const& value) {
  return value ? json(*value) : json(nullptr);
}

double microseconds(std::chrono::nanoseconds time) {
  return std::chrono::duration<double, std::micro>(time).count();
}

json calls_of(phase_report const& p) {
  json out = json::object();
  for (std::size_t i = 0; i < store_call_count; ++i) {
    auto const& c = p.calls[i];
    if (c.count == 0) continue;
    out[std::string(name_of(static_cast<store_call>(i)))] = {
        {"count", c.count},
        {"p50_us", microseconds(c.p50)},
        {"p99_us", microseconds(c.p99)},
        {"p999_us", microseconds(c.p999)},
        {"max_us", microseconds(c.max)},
        {"mean_us", microseconds(c.total) / static_cast<double>(c.count)}};
  }
  return out;
}

json stages_of(phase_report const& p) {
  json out = json::array();
  for (auto const& s : p.stages) {
    out.push_back({{"name", s.name},
                   {"threads", s.threads},
                   {"busy_seconds", s.busy.count()},
                   {"cpu_seconds", s.cpu.count()},
                   {"busy_percent", 100 * s.share_of(p.time)}});
  }
  return out;
}

json series_of(phase_report const& p) {
  json seconds = json::array(), bytes = json::object();
  for (auto const& name : p.counters) bytes[name] = json::array();
  for (auto const& s : p.series.samples()) {
    seconds.push_back(s.at.count());
    for (std::size_t i = 0; i < p.counters.size(); ++i) bytes[p.counters[i]].push_back(s.counts[i]);
  }
  return {{"seconds", seconds}, {"bytes", bytes}};
}

}  // namespace

void json_bench_start(bench_report const& r) {
  bool const made = !r.source;
  auto const of_made = [&](double percent) { return made ? json(percent) : json(nullptr); };
  emit({{"event", "bench_start"},
        {"version", r.version},
        {"date", r.date},
        {"cores", r.cores},
        {"source", known(r.source)},
        {"targets", r.work.images},
        {"bytes", r.image_bytes},
        {"block_size", r.work.block_bytes},
        {"batch_size", r.batch_blocks},
        {"zeros_percent", of_made(r.work.zeros_percent)},
        {"dedup_percent", of_made(r.work.dedup_percent)},
        {"compressibility_percent", of_made(r.work.compressibility_percent)},
        {"lz4_saves_percent", known(r.saved_percent)},
        {"seed", r.work.seed}});
}

void json_bench_phase(store_report const& store, phase_report const& p) {
  emit({{"event", "bench_phase"},
        {"store", store.name},
        {"phase", name_of(p.phase)},
        {"seconds", p.time.count()},
        {"bytes", p.image_bytes},
        {"bytes_per_second", known(p.bytes_per_second())},
        {"blocks", p.blocks},
        {"blocks_stored", p.blocks_stored},
        {"blocks_reused", p.blocks_reused},
        {"blocks_zero", p.blocks_zero},
        {"blocks_seen", p.blocks_seen},
        {"as_made", known(p.as_made)},
        {"bytes_wire", p.wire_bytes},
        {"cpu_server_seconds", p.cpu_server.count()},
        {"cpu_agent_seconds", p.cpu_agent.count()},
        {"cpu_others_seconds", p.cpu_others.count()},
        {"cpu_server_seconds_per_gb", known(p.cpu_per_gb(p.cpu_server))},
        {"cpu_agent_seconds_per_gb", known(p.cpu_per_gb(p.cpu_agent))},
        {"memory_server_bytes", p.memory_server_bytes},
        {"memory_before_bytes", p.memory_before_bytes},
        {"memory_agent_bytes", p.memory_agent_bytes},
        {"bytes_stored", p.stored_bytes},
        {"files", known(p.files)},
        {"bytes_disk", known(p.disk_bytes)},
        {"latency", calls_of(p)},
        {"stages", stages_of(p)},
        {"bottleneck", {{"stage", p.slowest.stage}, {"reason", p.slowest.reason}}},
        {"series", series_of(p)}});
}

void json_bench_summary(bench_report const& report, double seconds) {
  emit({{"event", "bench_summary"}, {"stores", report.stores.size()}, {"seconds", seconds}});
}

}  // namespace diskdump
