// --json: one object per line on stdout, nothing else. Text from outside that is not UTF-8 is
// written with replacement characters.
#pragma once

#include <vector>

#include "cli/fleet_watch.hpp"
#include "cli/monitored.hpp"
#include "pipeline/fleet.hpp"
#include "store/manifest.hpp"

namespace diskdump {

// One event, given as JSON text without a line end.
void json_line(std::string text);

// All targets of a dump, before the first begins; then one for each as it begins.
void json_fleet_event(std::vector<fleet_target> const& targets);
void json_start_event(fleet_target const& target);
// One for each target at work, and one for all.
void json_fleet_progress(std::string_view verb, std::vector<fleet_target> const& targets,
                         fleet_picture const& picture);
void json_retry_event(fleet_target const& target, fleet_retry const& retry);
void json_target_event(fleet_target const& target, target_record const& record);
void json_dump_summary(std::vector<fleet_target> const& targets, double seconds);
void json_restore_event(std::string const& manifest, std::string const& output, std::uint64_t bytes,
                        std::uint64_t zero_bytes, double seconds);
void json_manifest_event(manifest_entry const& entry, bool is_protected);
// How far a long verb is; at most one a second.
void json_progress_event(std::string const& verb, work_state const& state);
void json_error_event(std::string const& text);

}  // namespace diskdump
