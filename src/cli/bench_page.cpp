// The page of a benchmark: what is compared, then each store by itself. Everything is in the one
// document; it asks a browser for nothing else, and has no script.
#include <algorithm>

#include "base/format.hpp"
#include "cli/bench_charts.hpp"
#include "cli/bench_text.hpp"
#include "cli/text.hpp"

namespace diskdump {

namespace {

constexpr std::size_t points_max = 64;  // of a line; more would only show noise

constexpr char const* page_head = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>diskdump bench</title>
<style>
:root { --paper: #fff; --card: #f6f7f9; --ink: #1c2128; --soft: #5b6470; --rule: #d5dae1;
  --s0: #2563eb; --s1: #d97706; --s2: #059669; --s3: #db2777; --s4: #7c3aed; --s5: #0891b2;
  --s6: #65a30d; --s7: #dc2626; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #101418; --card: #1a2027; --ink: #e6eaef; --soft: #9aa5b1; --rule: #35404b;
    --s0: #6ea0ff; --s1: #f5a742; --s2: #3ccf9a; --s3: #f472b6; --s4: #a78bfa; --s5: #4cc9e6;
    --s6: #a3d63f; --s7: #f87171; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1280px; margin: 0 auto; padding: 16px; }
h1 { font-size: 1.5rem; margin: 8px 0; }
h2 { font-size: 1.2rem; margin: 32px 0 12px; overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 0 0 8px; }
p { margin: 4px 0 12px; color: var(--soft); overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 350px), 1fr));
  gap: 16px; align-items: start; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 14px; }
.key { display: flex; flex-wrap: wrap; gap: 4px 16px; list-style: none; padding: 0; margin: 0 0 12px; }
.key li { display: flex; align-items: center; gap: 6px; overflow-wrap: anywhere; }
.key i { flex: none; width: 12px; height: 12px; border-radius: 3px; }
.card .key { font-size: .82rem; margin-bottom: 6px; }
svg { display: block; width: 100%; height: auto; }
svg text { font-size: 11px; fill: var(--soft); }
svg .label { font-size: 12px; fill: var(--ink); font-weight: 600; }
svg .end { text-anchor: end; } svg .mid { text-anchor: middle; }
svg .grid { stroke: var(--rule); stroke-width: 1; }
svg .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
svg .faint { opacity: .45; }
.wide { overflow-x: auto; background: var(--card); border: 1px solid var(--rule); border-radius: 10px;
  margin-bottom: 16px; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px; text-align: right; white-space: nowrap; border-top: 1px solid var(--rule); }
thead th { border-top: 0; color: var(--soft); font-weight: 500; }
th:first-child { text-align: left; } td.text { text-align: left; white-space: normal; min-width: 18rem; }
)";

std::string style() {
  std::string out = page_head;
  for (std::size_t i = 0; i < chart_colours; ++i) {
    auto const c = colour_class(i);
    out += format(
        ".key .{0} {{ background: var(--{0}); }} rect.{0} {{ fill: var(--{0}); }} "
        "path.{0} {{ stroke: var(--{0}); }}\n",
        c);
  }
  return out + "</style>\n</head>\n<body>\n<main>\n";
}

std::string key(std::vector<std::string> const& names) {
  std::string out = "<ul class=\"key\">";
  for (std::size_t i = 0; i < names.size(); ++i) {
    out += format("<li><i class=\"{}\"></i>{}</li>", colour_class(i), html_text(names[i]));
  }
  return out + "</ul>\n";
}

std::string card(std::string_view title, std::string_view note, std::string const& content) {
  auto const text = note.empty() ? std::string() : format("<p>{}</p>", html_text(note));
  return format("<section class=\"card\"><h3>{}</h3>{}{}</section>\n", html_text(title), text,
                content);
}

phase_report const* find(store_report const& store, bench_phase which) {
  auto const at = std::find_if(store.phases.begin(), store.phases.end(),
                               [&](phase_report const& p) { return p.phase == which; });
  return at == store.phases.end() ? nullptr : &*at;
}

// ---- All stores side by side --------------------------------------------------------------------

template <class Figure>
std::string compared(bench_report const& report, std::vector<bench_phase> const& phases,
                     Figure figure) {
  std::vector<bar_group> groups;
  for (auto const which : phases) {
    bar_group group{.label = phase_text(which), .bars = {}};
    for (std::size_t i = 0; i < report.stores.size(); ++i) {
      auto const* const p = find(report.stores[i], which);
      std::optional<bar> found = p != nullptr ? figure(*p) : std::nullopt;
      if (!found) continue;
      found->colour = i;
      group.bars.push_back(std::move(*found));
    }
    if (!group.bars.empty()) groups.push_back(std::move(group));
  }
  return bar_chart(groups);
}

std::string comparison(bench_report const& report) {
  using enum bench_phase;
  std::vector<bench_phase> const with_bytes{first, unchanged, changed, restore, verify};
  std::vector<bench_phase> const all{first, unchanged, changed, restore, verify, collect};
  auto const rate = [](phase_report const& p) -> std::optional<bar> {
    auto const r = p.bytes_per_second();
    if (!r) return std::nullopt;
    return bar{.value = *r, .text = rate_text(*r)};
  };
  auto const time = [](phase_report const& p) -> std::optional<bar> {
    return bar{.value = p.time.count(), .text = format("{:.2f} s", p.time.count())};
  };
  auto const cpu = [](phase_report const& p) -> std::optional<bar> {
    auto const both = p.cpu_per_gb(p.cpu_server + p.cpu_agent);
    if (!both) return std::nullopt;
    return bar{.value = *both,
               .second = p.cpu_per_gb(p.cpu_agent).value_or(0),
               .text = format("{:.2f} s", *both)};
  };
  auto const memory = [](phase_report const& p) -> std::optional<bar> {
    auto const both = p.memory_server_bytes + p.memory_agent_bytes;
    return bar{.value = static_cast<double>(both),
               .second = static_cast<double>(p.memory_agent_bytes),
               .text = size_text(both)};
  };
  auto const disk = [](phase_report const& p) -> std::optional<bar> {
    if (!p.disk_bytes) return std::nullopt;
    return bar{.value = static_cast<double>(*p.disk_bytes),
               .text = format("{}, {} files", size_text(*p.disk_bytes), p.files.value_or(0))};
  };
  bool const on_disk = std::any_of(report.stores.begin(), report.stores.end(), [](auto const& s) {
    return !s.phases.empty() && s.phases.front().disk_bytes;
  });
  return "<div class=\"cards\">\n" +
         card("Throughput", "Bytes of images a second; more is better.",
              compared(report, with_bytes, rate)) +
         card("Time", "Seconds of each phase; less is better.", compared(report, all, time)) +
         card("Processor", "CPU seconds for 10⁹ bytes: server, and fainter the agent.",
              compared(report, with_bytes, cpu)) +
         card("Memory", "Peak of resident memory: server, and fainter the agent.",
              compared(report, all, memory)) +
         (on_disk ? card("On disk", "What the file system gave, at the end of the phase.",
                         compared(report, all, disk))
                  : "") +
         "</div>\n";
}

std::string latencies(bench_report const& report) {
  struct shown {
    store_call call;
    bench_phase phase;
  };
  std::string out;
  for (auto const& [call, phase] :
       {shown{store_call::put, bench_phase::first}, shown{store_call::missing, bench_phase::first},
        shown{store_call::missing, bench_phase::unchanged},
        shown{store_call::get, bench_phase::restore},
        shown{store_call::barrier, bench_phase::first}}) {
    std::vector<latency_line> lines;
    for (std::size_t i = 0; i < report.stores.size(); ++i) {
      auto const* const p = find(report.stores[i], phase);
      if (p == nullptr) continue;
      auto const& calls = p->calls[static_cast<std::size_t>(call)];
      if (calls.count == 0) continue;
      latency_line line{.name = report.stores[i].name, .colour = i, .points = {}};
      for (auto const& s : calls.distribution) {
        line.points.emplace_back(s.share, static_cast<double>(s.latency.count()));
      }
      lines.push_back(std::move(line));
    }
    if (lines.empty()) continue;
    out += card(format("{}, {}", name_of(call), phase_text(phase)), "", latency_chart(lines));
  }
  return "<h2>Latency of calls to the store</h2>\n<p>How long so much of the calls took at "
         "most.</p>\n"
         "<div class=\"cards\">\n" +
         out + "</div>\n";
}

// ---- One store ----------------------------------------------------------------------------------

// From counts to rates, in steps that are not so small that they show the sampling.
std::vector<rate_line> rates_of(phase_report const& p) {
  std::vector<rate_line> lines;
  auto const& samples = p.series.samples();
  auto const step = p.time.count() / points_max;
  for (std::size_t c = 0; c < p.counters.size(); ++c) {
    rate_line line{.name = p.counters[c], .colour = c, .points = {}};
    std::size_t last = 0;
    for (std::size_t i = 1; i < samples.size(); ++i) {
      auto const passed = (samples[i].at - samples[last].at).count();
      if (passed <= 0 || (passed < step && i + 1 < samples.size())) continue;
      auto const bytes = samples[i].counts[c] - samples[last].counts[c];
      auto const middle = (samples[i].at.count() + samples[last].at.count()) / 2;
      line.points.emplace_back(middle, static_cast<double>(bytes) / passed);
      last = i;
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

std::string throughput(store_report const& store) {
  std::string out;
  for (auto const& p : store.phases) {
    auto const lines = rates_of(p);
    if (lines.empty()) continue;
    out += card(format("{}: {:.2f} s", phase_text(p.phase), p.time.count()), "",
                key(p.counters) + rate_chart(lines, p.time.count()));
  }
  return "<div class=\"cards\">\n" + out + "</div>\n";
}

std::string stages(store_report const& store) {
  std::string out = "<div class=\"cards\">\n";
  for (auto const& p : store.phases) {
    std::vector<bar_group> groups;
    for (std::size_t i = 0; i < p.stages.size(); ++i) {
      auto const& s = p.stages[i];
      auto const share = s.share_of(p.time);
      auto const label = s.threads > 1 ? format("{} ({} threads)", s.name, s.threads) : s.name;
      groups.push_back({.label = label,
                        .bars = {{.value = share,
                                  .text = format("{:.0f} %", 100 * share),
                                  .colour = s.name == p.slowest.stage ? 1U : 0U}}});
    }
    out += card(format("{}: {}", phase_text(p.phase), p.slowest.stage), p.slowest.reason + ".",
                bar_chart(groups, 1));
  }
  return out + "</div>\n";
}

std::string cell(std::string_view text) { return format("<td>{}</td>", html_text(text)); }

std::string figures(store_report const& store) {
  std::string out =
      "<div class=\"wide\"><table><thead><tr><th></th><th>time</th><th>rate</th><th>stored</th>"
      "<th>reused</th><th>zero</th><th>on the wire</th><th>CPU s/GB</th><th>agent</th>"
      "<th>memory</th><th>agent</th></tr></thead><tbody>\n";
  auto const number = [](std::optional<double> value) {
    return cell(value ? format("{:.2f}", *value) : "–");
  };
  for (auto const& p : store.phases) {
    bool const dump = p.blocks > 0;
    auto const of_dump = [&](std::string const& text) { return cell(dump ? text : "–"); };
    auto const rate = p.bytes_per_second();
    out += format("<tr><th>{}</th>", phase_text(p.phase));
    out += cell(format("{:.3f} s", p.time.count())) + cell(rate ? rate_text(*rate) : "–");
    out += of_dump(std::to_string(p.blocks_stored)) + of_dump(std::to_string(p.blocks_reused));
    out += of_dump(std::to_string(p.blocks_zero)) + of_dump(size_text(p.wire_bytes));
    out += number(p.cpu_per_gb(p.cpu_server));
    out += dump ? number(p.cpu_per_gb(p.cpu_agent)) : cell("–");
    out += cell(size_text(p.memory_server_bytes)) + of_dump(size_text(p.memory_agent_bytes));
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string call_figures(store_report const& store) {
  std::string out =
      "<div class=\"wide\"><table><thead><tr><th></th><th>call</th><th>count</th><th>p50</th>"
      "<th>p99</th><th>p99.9</th><th>max</th></tr></thead><tbody>\n";
  for (auto const& p : store.phases) {
    for (std::size_t i = 0; i < store_call_count; ++i) {
      auto const& c = p.calls[i];
      if (c.count == 0) continue;
      out += format("<tr><th>{}</th>", phase_text(p.phase));
      out += cell(name_of(static_cast<store_call>(i))) + cell(std::to_string(c.count));
      for (auto const time : {c.p50, c.p99, c.p999, c.max}) out += cell(latency_text(time));
      out += "</tr>\n";
    }
  }
  return out + "</tbody></table></div>\n";
}

}  // namespace

std::string bench_page(bench_report const& report) {
  auto out = style();
  out += "<h1>diskdump bench</h1>\n";
  out += format("<p>{}; batches of {} blocks; {} cores; diskdump {}, {}</p>\n",
                html_text(bench_subject(report)), report.batch_blocks, report.cores,
                html_text(report.version), html_text(report.date));
  std::vector<std::string> names;
  for (auto const& s : report.stores) names.push_back(s.name);
  out += key(names) + comparison(report) + latencies(report);
  for (auto const& s : report.stores) {
    out += format("<h2>{}</h2>\n", html_text(s.name));
    out +=
        "<p>Throughput over time of the stages that count bytes; “wire” is what crossed it.</p>\n";
    out += throughput(s);
    out +=
        "<h2>Stages of " + html_text(s.name) +
        "</h2>\n<p>The share of its threads' time that each was at work; in another colour the one "
        "that held the others up.</p>\n" +
        stages(s);
    out += "<h2>Figures of " + html_text(s.name) + "</h2>\n" + figures(s) + call_figures(s);
  }
  return out + "</main>\n</body>\n</html>\n";
}

}  // namespace diskdump
