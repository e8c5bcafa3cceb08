#include "cli/json_events.hpp"

#include <cstdio>
#include <nlohmann/json.hpp>

namespace diskdump {

namespace {

using json = nlohmann::ordered_json;

void emit(json const& event) {
  json_line(event.dump(-1, ' ', false, json::error_handler_t::replace));
}

double seconds_of(target_progress const& p) {
  return std::chrono::duration<double>(p.ended - p.started).count();
}

}  // namespace

void json_line(std::string text) {
  text += '\n';
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void json_target_event(fleet_target const& target) {
  auto const& p = target.progress;
  json event{{"event", "target"},
             {"target", target.label},
             {"source", target.source.empty() ? target.host + ":" + target.path : target.source},
             {"name", target.manifest_name},
             {"status", target.failure ? "failed" : "ok"}};
  event["manifest"] = target.manifest ? json(*target.manifest) : json(nullptr);
  event["bytes"] = p.image_bytes;
  event["blocks"] = p.blocks.value;
  event["blocks_stored"] = p.blocks_stored.value;
  event["blocks_reused"] = p.blocks_reused.value;
  event["blocks_zero"] = p.blocks_zero.value;
  event["bytes_wire"] = p.bytes_wire;
  event["bytes_bad"] = p.bad_bytes;
  event["engine"] = p.engine;
  event["agent"] = p.agent_location;
  event["agent_uploaded"] = p.agent_uploaded;
  event["seconds"] = seconds_of(p);
  if (target.interrupted) {
    event["error"] = "interrupted";
  } else {
    event["error"] = target.failure ? json(describe(target.failure)) : json(nullptr);
  }
  emit(event);
}

void json_dump_summary(std::vector<fleet_target> const& targets, double seconds) {
  std::uint64_t failed = 0, bytes = 0, wire = 0;
  block_count stored, reused, zero;
  for (auto const& t : targets) {
    failed += t.failure ? 1 : 0;
    bytes += t.progress.image_bytes;
    wire += t.progress.bytes_wire;
    stored += t.progress.blocks_stored;
    reused += t.progress.blocks_reused;
    zero += t.progress.blocks_zero;
  }
  emit({{"event", "summary"},
        {"targets", targets.size()},
        {"ok", targets.size() - failed},
        {"failed", failed},
        {"bytes", bytes},
        {"blocks_stored", stored.value},
        {"blocks_reused", reused.value},
        {"blocks_zero", zero.value},
        {"bytes_wire", wire},
        {"seconds", seconds}});
}

void json_restore_event(std::string const& manifest, std::string const& output, std::uint64_t bytes,
                        std::uint64_t zero_bytes, double seconds) {
  emit({{"event", "restore"},
        {"manifest", manifest},
        {"output", output},
        {"bytes", bytes},
        {"bytes_zero", zero_bytes},
        {"seconds", seconds}});
}

void json_manifest_event(manifest_entry const& entry, bool is_protected) {
  emit({{"event", "manifest"},
        {"manifest", entry.path},
        {"name", entry.name},
        {"source", entry.header.source},
        {"date", entry.header.date},
        {"bytes", entry.header.geometry.image_bytes},
        {"block_size", entry.header.geometry.block_bytes},
        {"blocks", entry.header.geometry.blocks().value},
        {"version", entry.version},
        {"protected", is_protected}});
}

void json_progress_event(std::string const& verb, work_state const& state) {
  auto const left = state.left();
  emit({{"event", "progress"},
        {"verb", verb},
        {"phase", state.phase},
        {"done", state.done},
        {"total", state.total},
        {"bytes_done", state.bytes_done},
        {"bytes_total", state.bytes_total},
        {"seconds", state.elapsed.count()},
        {"seconds_left", left ? json(left->count()) : json(nullptr)}});
}

void json_error_event(std::string const& text) { emit({{"event", "error"}, {"error", text}}); }

}  // namespace diskdump
