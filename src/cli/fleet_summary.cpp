#include "cli/fleet_summary.hpp"

#include <algorithm>

#include "base/format.hpp"
#include "cli/fleet_screen.hpp"
#include "cli/screen_text.hpp"
#include "cli/text.hpp"

namespace diskdump {

namespace {

constexpr std::size_t summary_label_width_min = 28;
constexpr std::size_t reason_indent = 4;

std::chrono::duration<double> time_of(target_progress const& p) { return p.ended - p.started; }

// What is said of a target, or of all of them, in the table.
struct figures {
  std::uint64_t image = 0, stored = 0, wire = 0, saved = 0;
  std::uint64_t blocks_spared = 0, blocks = 0;
  std::chrono::duration<double> time{};
  unsigned attempts = 0;
};

figures figures_of(fleet_target const& target, fleet_watch const& watch,
                   std::uint32_t block_bytes) {
  auto const& p = target.progress;
  return {.image = p.image_bytes,
          // The last block of an image may be short.
          .stored = std::min(p.blocks_stored.value * block_bytes, p.image_bytes),
          .wire = p.bytes_wire,
          .saved = bytes_saved(p),
          .blocks_spared = p.blocks_reused.value + p.blocks_zero.value + p.blocks_resumed.value,
          .blocks = p.blocks.value,
          .time = time_of(p),
          .attempts = watch.attempts(target)};
}

void add(figures& sum, figures const& f) {
  sum.image += f.image;
  sum.stored += f.stored;
  sum.wire += f.wire;
  sum.saved += f.saved;
  sum.blocks_spared += f.blocks_spared;
  sum.blocks += f.blocks;
}

struct column {
  char const* heading;
  std::string (*cell)(figures const&);
};

std::string dedup_cell(figures const& f) {
  return f.blocks == 0 ? "-" : format("{}%", percent_of(f.blocks_spared, f.blocks));
}

// The most important come first; what does not fit is left out from the end.
std::vector<column> columns_for(bool with_attempts) {
  std::vector<column> out{{"image", [](figures const& f) { return size_text(f.image); }},
                          {"sent", [](figures const& f) { return size_text(f.wire); }},
                          {"dedup", dedup_cell},
                          {"time", [](figures const& f) { return time_text(f.time); }}};
  if (with_attempts) {
    out.push_back({"tries", [](figures const& f) {
                     return f.attempts == 0 ? std::string("-") : format("{}", f.attempts);
                   }});
  }
  out.push_back({"rate", [](figures const& f) { return rate_text(f.image, f.time); }});
  out.push_back({"new", [](figures const& f) { return size_text(f.stored); }});
  out.push_back({"saved", [](figures const& f) { return size_text(f.saved); }});
  return out;
}

struct table_row {
  std::string label;
  figures what;
};

std::vector<screen_line> table(std::vector<table_row> const& rows, bool with_attempts,
                               std::size_t columns) {
  std::size_t label = 0;
  for (auto const& row : rows) label = std::max(label, columns_of(row.label));
  std::vector<column> shown;
  std::vector<std::size_t> widths;
  std::size_t used = 0;
  for (auto const& c : columns_for(with_attempts)) {
    auto width = columns_of(c.heading);
    for (auto const& row : rows) width = std::max(width, columns_of(c.cell(row.what)));
    auto const least = std::min(label, summary_label_width_min);
    if (columns > 0 && least + used + column_gap + width > columns) break;
    shown.push_back(c);
    widths.push_back(width);
    used += column_gap + width;
  }
  if (columns > 0) label = std::min(label, columns > used ? columns - used : 0);
  std::vector<screen_line> lines;
  std::string heading(label, ' ');
  for (std::size_t i = 0; i < shown.size(); ++i) {
    heading += std::string(column_gap, ' ') + fit_right(shown[i].heading, widths[i]);
  }
  lines.push_back({{heading}});
  for (auto const& row : rows) {
    auto text = fit_left(row.label, label);
    for (std::size_t i = 0; i < shown.size(); ++i) {
      text += std::string(column_gap, ' ') + fit_right(shown[i].cell(row.what), widths[i]);
    }
    lines.push_back({{text}});
  }
  return lines;
}

void add_failures(std::vector<screen_line>& lines, std::vector<fleet_target> const& targets,
                  fleet_watch const& watch, std::size_t columns) {
  for (auto const& t : targets) {
    if (!t.failure || t.interrupted) continue;
    auto text = failure_text(t);
    auto const attempts = watch.attempts(t);
    if (attempts > 1) text += format("; after {} attempts", attempts);
    auto first = true;
    constexpr std::string_view mark = "failed  ";
    for (auto const& part : columns > 0 ? wrapped(std::string(mark) + text, columns, reason_indent)
                                        : std::vector<std::string>{std::string(mark) + text}) {
      if (first && part.starts_with(mark)) {
        lines.push_back({{std::string(mark), ink::bad}, {part.substr(mark.size())}});
      } else {
        lines.push_back({{part}});
      }
      first = false;
    }
  }
}

void add_interrupted(std::vector<screen_line>& lines, std::vector<fleet_target> const& targets,
                     std::size_t columns) {
  for (auto const& t : targets) {
    if (!t.interrupted) continue;
    auto const label = screen_text(t.label);
    constexpr std::string_view mark = "interrupted  ";
    auto const room = columns > mark.size() ? columns - mark.size() : columns;
    lines.push_back({{std::string(mark) + (columns > 0 ? cut_middle(label, room) : label)}});
  }
}

}  // namespace

std::uint64_t bytes_saved(target_progress const& p) noexcept {
  return p.image_bytes > p.bytes_wire ? p.image_bytes - p.bytes_wire : 0;
}

std::string failure_text(fleet_target const& target) {
  auto const label = screen_text(target.label);
  auto const reason = screen_text(describe(target.failure));
  auto const place = screen_text(target.host) + ": ";
  if (!reason.starts_with(place)) return label + ": " + reason;
  bool const named = reason.find(screen_text(target.path)) != std::string::npos;
  return named ? reason : label + ": " + reason.substr(place.size());
}

std::string outcome_text(fleet_target const& target) {
  auto const& p = target.progress;
  auto const time = time_of(p);
  auto text =
      format("{} -> {}: {} in {} ({}); {} blocks: {} new, {} known, {} zero; wire {}",
             screen_text(target.label), target.manifest.value_or("?"), size_text(p.image_bytes),
             time_text(time), rate_text(p.image_bytes, time), p.blocks.value, p.blocks_stored.value,
             p.blocks_reused.value, p.blocks_zero.value, size_text(p.bytes_wire));
  if (p.bad_bytes > 0) text += format("; {} bytes UNREADABLE, stored as zeros", p.bad_bytes);
  return text;
}

screen_line outcome_line(fleet_target const& target, std::size_t columns) {
  auto const& p = target.progress;
  auto const figures = format(": {} in {}, {} sent", size_text(p.image_bytes),
                              time_text(time_of(p)), size_text(p.bytes_wire));
  constexpr std::string_view mark = "done  ";
  auto const taken = mark.size() + columns_of(figures);
  auto const label = cut_middle(screen_text(target.label), columns > taken ? columns - taken : 0);
  screen_line line{{std::string(mark), ink::good}, {label + figures}};
  if (p.bad_bytes > 0) line.push_back({format("; {} bytes UNREADABLE", p.bad_bytes), ink::bad});
  return line;
}

std::vector<screen_line> fleet_summary(std::vector<fleet_target> const& targets,
                                       fleet_watch const& watch, summary_options const& options) {
  std::vector<screen_line> lines;
  add_failures(lines, targets, watch, options.columns);
  add_interrupted(lines, targets, options.columns);

  figures sum;
  std::vector<table_row> rows;
  std::size_t failed = 0, interrupted = 0;
  bool again = false;
  for (auto const& t : targets) {
    interrupted += t.interrupted ? 1 : 0;
    failed += t.failure && !t.interrupted ? 1 : 0;
    if (t.failure) continue;
    rows.push_back({screen_text(t.label), figures_of(t, watch, options.block_bytes)});
    again = again || rows.back().what.attempts > 1;
    add(sum, rows.back().what);
  }
  sum.time = options.elapsed;
  auto const done = rows.size();
  if (!rows.empty()) {
    rows.push_back({"all that was done", sum});
    for (auto& line : table(rows, again, options.columns)) lines.push_back(std::move(line));
  }

  screen_line last{{format("{} targets: ", targets.size())},
                   {format("{} done", done), done > 0 ? ink::good : ink::plain},
                   {", "},
                   {format("{} failed", failed), failed > 0 ? ink::bad : ink::plain}};
  if (interrupted > 0) last.push_back({format(", {} interrupted", interrupted)});
  if (done == 0) last.push_back({format(" in {}", time_text(options.elapsed))});
  lines.push_back(std::move(last));
  if (done > 0) {
    lines.push_back(
        {{format("{} in {} ({}); {} of it did not cross the wire ({}%)", size_text(sum.image),
                 time_text(options.elapsed), rate_text(sum.image, options.elapsed),
                 size_text(sum.saved), percent_of(sum.saved, sum.image))}});
  }
  return lines;
}

}  // namespace diskdump
