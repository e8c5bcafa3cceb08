#include "cli/fleet_screen.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "base/assert.hpp"
#include "base/format.hpp"
#include "cli/screen_text.hpp"
#include "cli/text.hpp"

namespace diskdump {

namespace {

constexpr std::size_t share_width = 4;  // "100%"
constexpr std::size_t rate_width = 9;   // "9999 MB/s"
constexpr std::size_t left_width = 9;   // "59 m 59 s"
constexpr std::size_t dedup_width = 5;  // the heading
constexpr std::size_t size_width = 24;  // "1023.9 GiB of 1023.9 GiB"
constexpr std::size_t bar_width_min = 10, bar_width_max = 30;
constexpr std::size_t label_width_min = 20, label_width_good = 36, label_width_max = 60;
// With fewer rows the heading is left out, with fewer still all but the counts.
constexpr std::size_t heading_rows_min = 8, total_rows_min = 4;

// Which columns there are, and how wide; 0 is left out.
struct layout {
  std::size_t label = 0, bar = 0, share = 0, read = 0, sent = 0, dedup = 0, left = 0, size = 0;
};

// The most important come first; a column is there if the label keeps what it needs.
layout lay_out(std::size_t columns, std::size_t label_columns) {
  layout l;
  auto const label = std::min(std::max(label_columns, label_width_min), label_width_max);
  auto room = columns;
  auto const take = [&](std::size_t& into, std::size_t width, std::size_t label_least) {
    if (room < label_least + column_gap + width) return;
    into = width;
    room -= column_gap + width;
  };
  take(l.share, share_width, 8);
  take(l.left, left_width, 12);
  take(l.read, rate_width, 12);
  take(l.bar, bar_width_min, label_width_min);
  take(l.dedup, dedup_width, label_width_min);
  take(l.sent, rate_width, std::min(label, label_width_good));
  take(l.size, size_width, label);
  l.label = std::min(label, room);
  if (l.bar > 0) l.bar = std::min(l.bar + (room - l.label), bar_width_max);
  return l;
}

struct cells {
  std::string bar, share, read, sent, dedup, left, size;
};

std::string joined(layout const& l, std::string_view label, cells const& c) {
  auto out = fit_left(label, l.label);
  auto const add = [&](std::size_t width, std::string const& text) {
    if (width > 0) out += std::string(column_gap, ' ') + fit_right(text, width);
  };
  add(l.bar, c.bar);
  add(l.share, c.share);
  add(l.size, c.size);
  add(l.read, c.read);
  add(l.sent, c.sent);
  add(l.dedup, c.dedup);
  add(l.left, c.left);
  out.erase(out.find_last_not_of(' ') + 1);
  return out;
}

std::string rate_cell(std::optional<double> rate) { return rate ? rate_text(*rate) : ""; }

std::string size_cell(work_figures const& f, bool estimated = false) {
  if (f.bytes_total == 0) return "";
  return format("{} of {}{}", size_text(f.bytes_done), estimated ? "~" : "",
                size_text(f.bytes_total));
}

double share_of(work_figures const& f) {
  return std::min(1.0, static_cast<double>(f.bytes_done) / static_cast<double>(f.bytes_total));
}

cells cells_of(layout const& l, work_figures const& f, bool estimated = false) {
  cells c;
  if (f.bytes_total > 0) {
    if (l.bar > 0) c.bar = bar(share_of(f), l.bar);
    c.share = format("{}%", percent_of(f.bytes_done, f.bytes_total));
  }
  c.size = size_cell(f, estimated);
  c.read = rate_cell(f.read_rate);
  c.sent = rate_cell(f.wire_rate);
  if (f.dedup_percent) c.dedup = format("{}%", *f.dedup_percent);
  if (f.left) c.left = left_text(*f.left);
  return c;
}

std::string state_words(target_picture const& t) {
  std::string words(state_text(t.state));
  if (t.retry_in) words += " in " + left_text(*t.retry_in);
  bool const again = t.attempt > 1 || t.state == target_state::retrying;
  if (again && t.attempts_max > 0) words += format(", attempt {} of {}", t.attempt, t.attempts_max);
  return words;
}

// A target that is not reading just now says instead of its rates what it does.
std::string target_line(layout const& l, target_picture const& t) {
  auto const& f = t.figures;
  if (t.state == target_state::dumping && f.bytes_total > 0) {
    return joined(l, t.label, cells_of(l, f));
  }
  auto shown = l;
  shown.size = shown.read = shown.sent = shown.dedup = shown.left = 0;
  if (f.bytes_total == 0) shown.bar = shown.share = 0;
  auto const begin = joined(shown, t.label, cells_of(shown, f));
  return begin +
         std::string(std::max(l.label, columns_of(begin)) - columns_of(begin) + column_gap, ' ') +
         state_words(t);
}

// Sizes are there whole or not at all: a number without its end is another number.
screen_line counts_line(fleet_picture const& p, std::size_t columns) {
  screen_line line{{format("{} at work", p.active.size())}};
  if (p.queued > 0) line.push_back({format(", {} queued", p.queued)});
  line.push_back({", "});
  line.push_back({format("{} done", p.done), p.done > 0 ? ink::good : ink::plain});
  if (p.failed > 0) {
    line.push_back({", "});
    line.push_back({format("{} failed", p.failed), ink::bad});
  }
  std::size_t taken = 0;
  for (auto const& span : line) taken += columns_of(span.text);
  auto const add_if_it_fits = [&](std::string text) {
    if (taken + columns_of(text) > columns) return;
    taken += columns_of(text);
    line.push_back({std::move(text)});
  };
  auto const sizes = size_cell(p.total, p.estimated);
  if (!sizes.empty()) add_if_it_fits("; " + sizes);
  add_if_it_fits(format(", {} sent", size_text(p.total.bytes_wire)));
  return line;
}

std::string rest_line(std::vector<target_picture> const& active, std::size_t from) {
  std::optional<double> rate;
  for (auto i = from; i < active.size(); ++i) {
    if (auto const r = active[i].figures.read_rate) rate = rate.value_or(0) + *r;
  }
  return format("… and {} more at work{}", active.size() - from,
                rate ? ": " + rate_text(*rate) : "");
}

cells headings() {
  return {.bar = "",
          .share = "",
          .read = "read",
          .sent = "sent",
          .dedup = "dedup",
          .left = "left",
          .size = "image"};
}

}  // namespace

int percent_of(std::uint64_t part, std::uint64_t whole) noexcept {
  if (part >= whole) return 100;
  auto const share = static_cast<double>(part) / static_cast<double>(whole);
  return std::min(99, static_cast<int>(share * 100));
}

std::string bar(double share, std::size_t columns) {
  DISKDUMP_ASSERT(share >= 0 && share <= 1);
  auto const halves = static_cast<std::size_t>(share * static_cast<double>(columns * 2));
  std::string out;
  for (std::size_t i = 0; i < columns; ++i) {
    out += halves >= 2 * i + 2 ? "█" : halves == 2 * i + 1 ? "▌" : "░";
  }
  return out;
}

std::vector<screen_line> fleet_screen(fleet_picture const& picture, std::size_t columns,
                                      std::size_t rows) {
  auto const l = lay_out(columns, picture.label_columns);
  bool const alone = picture.targets == 1;
  bool const heading = rows >= heading_rows_min && !picture.active.empty();
  std::vector<screen_line> lines;
  auto const add = [&](std::string text) { lines.push_back({{cut_end(text, columns)}}); };
  if (rows == 0) return lines;
  if (!alone && rows < total_rows_min) return {counts_line(picture, columns)};
  if (heading) add(joined(l, "", headings()));

  // Below: the total and the counts.
  std::size_t const below = alone ? 0 : 2;
  auto const room = rows - lines.size() - below;
  auto const fits = picture.active.size() <= room ? picture.active.size() : room - 1;
  for (std::size_t i = 0; i < fits; ++i) add(target_line(l, picture.active[i]));
  if (fits < picture.active.size()) add(rest_line(picture.active, fits));
  if (alone) return lines;

  auto const label = format("{} targets", picture.targets);
  add(joined(l, label, cells_of(l, picture.total, picture.estimated)));
  lines.push_back(counts_line(picture, columns));
  return lines;
}

screen_line transfer_line(std::string_view label, work_figures const& figures,
                          std::size_t columns) {
  auto l = lay_out(columns, columns_of(label));
  l.sent = l.dedup = 0;
  return {{joined(l, label, cells_of(l, figures))}};
}

std::string fleet_status(fleet_picture const& picture) {
  auto const& total = picture.total;
  auto text = format("{} of {} targets done", picture.done, picture.targets);
  if (picture.failed > 0) text += format(", {} failed", picture.failed);
  text += format(", {} at work", picture.active.size());
  if (picture.queued > 0) text += format(", {} queued", picture.queued);
  if (total.bytes_total > 0) {
    text += format("; {} ({}%)", size_cell(total, picture.estimated),
                   percent_of(total.bytes_done, total.bytes_total));
  }
  if (total.read_rate) text += ", " + rate_text(*total.read_rate);
  if (total.dedup_percent) text += format(", dedup {}%", *total.dedup_percent);
  text += format(", {} sent", size_text(total.bytes_wire));
  if (total.left) text += format(", {} left", left_text(*total.left));
  return text;
}

}  // namespace diskdump
