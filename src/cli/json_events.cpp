#include "cli/json_events.hpp"

#include <cstdio>

#include "cli/fleet_summary.hpp"
#include "cli/json_value.hpp"

namespace diskdump {

namespace {

double seconds_of(target_progress const& p) {
  return std::chrono::duration<double>(p.ended - p.started).count();
}

json identity_of(fleet_target const& target) {
  return {{"target", target.label},
          {"source", target.source.empty() ? target.host + ":" + target.path : target.source},
          {"name", target.manifest_name}};
}

// For programs: these words stay as they are.
char const* state_word(target_state state) {
  switch (state) {
    case target_state::queued:
      return "queued";
    case target_state::connecting:
      return "connecting";
    case target_state::starting:
      return "starting";
    case target_state::dumping:
      return "dumping";
    case target_state::retrying:
      return "retrying";
    case target_state::sealing:
      return "sealing";
    case target_state::done:
      return "done";
    case target_state::failed:
      return "failed";
  }
  return "";
}

template <class Number>
json known(std::optional<Number> const& value) {
  return value ? json(*value) : json(nullptr);
}

void add_figures(json& event, work_figures const& f) {
  event["bytes_done"] = f.bytes_done;
  event["bytes_total"] = f.bytes_total;
  event["bytes_wire"] = f.bytes_wire;
  event["bytes_per_second"] = known(f.read_rate);
  event["bytes_wire_per_second"] = known(f.wire_rate);
  event["dedup_percent"] = known(f.dedup_percent);
  event["seconds_left"] = f.left ? json(f.left->count()) : json(nullptr);
}

}  // namespace

void json_line(std::string text) {
  text += '\n';
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void json_fleet_event(std::vector<fleet_target> const& targets) {
  json all = json::array();
  for (auto const& t : targets) all.push_back(identity_of(t));
  emit({{"event", "start"}, {"target", nullptr}, {"targets", std::move(all)}});
}

void json_start_event(fleet_target const& target) {
  json event{{"event", "start"}};
  event.update(identity_of(target));
  emit(event);
}

void json_fleet_progress(std::string_view verb, std::vector<fleet_target> const& targets,
                         fleet_picture const& picture) {
  for (auto const& active : picture.active) {
    auto const& t = targets.at(active.index);
    auto const& p = t.progress;
    json event{{"event", "progress"},
               {"verb", verb},
               {"target", t.label},
               {"name", t.manifest_name},
               {"state", state_word(active.state)},
               {"attempt", active.attempt}};
    add_figures(event, active.figures);
    event["blocks_stored"] = p.blocks_stored.value;
    event["blocks_reused"] = p.blocks_reused.value;
    event["blocks_zero"] = p.blocks_zero.value;
    emit(event);
  }
  json event{{"event", "progress"},      {"verb", verb},
             {"target", nullptr},        {"targets", picture.targets},
             {"queued", picture.queued}, {"active", picture.active.size()},
             {"ok", picture.done},       {"failed", picture.failed}};
  add_figures(event, picture.total);
  event["estimated"] = picture.estimated;
  event["seconds"] = picture.elapsed.count();
  emit(event);
}

void json_retry_event(fleet_target const& target, fleet_retry const& retry) {
  emit({{"event", "retry"},
        {"target", target.label},
        {"name", target.manifest_name},
        {"attempt", retry.attempt},
        {"attempts_max", retry.attempts_max},
        {"pause_seconds", std::chrono::duration<double>(retry.pause).count()},
        {"continues_at_bytes", retry.continues_at_bytes},
        {"error", describe(retry.failure)}});
}

void json_target_event(fleet_target const& target, target_record const& record) {
  auto const& p = target.progress;
  json event{{"event", "target"}};
  event.update(identity_of(target));
  event["status"] = target.failure ? "failed" : "ok";
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
  event["started"] = record.started ? json(iso_time(*record.started)) : json(nullptr);
  event["seconds"] = seconds_of(p);
  event["attempts"] = p.attempts;
  event["blocks_resumed"] = p.blocks_resumed.value;
  event["bytes_resumable"] = target.resumable_bytes;
  if (target.interrupted) {
    event["error"] = "interrupted";
  } else {
    event["error"] = target.failure ? json(describe(target.failure)) : json(nullptr);
  }
  emit(event);
}

void json_dump_summary(std::vector<fleet_target> const& targets, double seconds) {
  std::uint64_t failed = 0, bytes = 0, wire = 0, saved = 0;
  block_count stored, reused, zero;
  for (auto const& t : targets) {
    failed += t.failure ? 1 : 0;
    bytes += t.progress.image_bytes;
    wire += t.progress.bytes_wire;
    saved += t.failure ? 0 : bytes_saved(t.progress);
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
        {"bytes_saved", saved},
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
