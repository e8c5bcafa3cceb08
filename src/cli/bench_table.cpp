#include "base/format.hpp"
#include "cli/bench_text.hpp"
#include "cli/screen_text.hpp"
#include "cli/text.hpp"

namespace diskdump {

namespace {

constexpr std::size_t label_columns = 12;

// A row of figures, each right-aligned in its column.
class row {
 public:
  explicit row(std::string_view label, std::size_t indent = 2)
      : text_(std::string(indent, ' ') + fit_left(label, label_columns)) {}

  row& add(std::string_view figure, std::size_t columns) {
    text_ += ' ' + fit_right(figure, columns);
    return *this;
  }
  row& end(std::string_view text) {
    text_ += "  " + std::string(text);
    return *this;
  }
  [[nodiscard]] std::string line() const { return text_ + "\n"; }

 private:
  std::string text_;
};

std::string number_or_dash(std::optional<double> value) {
  return value ? format("{:.2f}", *value) : "-";
}

std::string rate_of(phase_report const& p) {
  auto const rate = p.bytes_per_second();
  return rate ? rate_text(*rate) : "-";
}

bool is_dump(phase_report const& p) { return p.blocks > 0; }

std::string phases_table(store_report const& store) {
  auto out = row("")
                 .add("time", 8)
                 .add("rate", 10)
                 .add("CPU s/GB", 9)
                 .add("agent", 6)
                 .add("memory", 10)
                 .add("agent", 10)
                 .add("on disk", 10)
                 .add("files", 8)
                 .line();
  for (auto const& p : store.phases) {
    out += row(phase_text(p.phase))
               .add(format("{:.3f} s", p.time.count()), 8)
               .add(rate_of(p), 10)
               .add(number_or_dash(p.cpu_per_gb(p.cpu_server)), 9)
               .add(is_dump(p) ? number_or_dash(p.cpu_per_gb(p.cpu_agent)) : "-", 6)
               .add(size_text(p.memory_server_bytes), 10)
               .add(is_dump(p) ? size_text(p.memory_agent_bytes) : "-", 10)
               .add(p.disk_bytes ? size_text(*p.disk_bytes) : "-", 10)
               .add(p.files ? std::to_string(*p.files) : "-", 8)
               .line();
  }
  return out;
}

std::string latency_table(store_report const& store) {
  std::string out;
  for (auto const& p : store.phases) {
    bool first = true;
    for (std::size_t i = 0; i < store_call_count; ++i) {
      auto const& c = p.calls[i];
      if (c.count == 0) continue;
      out += row(first ? phase_text(p.phase) : "")
                 .end(fit_left(name_of(static_cast<store_call>(i)), 7))
                 .add(std::to_string(c.count), 9)
                 .add(latency_text(c.p50), 9)
                 .add(latency_text(c.p99), 9)
                 .add(latency_text(c.p999), 9)
                 .add(latency_text(c.max), 9)
                 .line();
      first = false;
    }
  }
  if (out.empty()) return out;
  return row("")
             .end(fit_left("call", 7))
             .add("count", 9)
             .add("p50", 9)
             .add("p99", 9)
             .add("p99.9", 9)
             .add("max", 9)
             .line() +
         out;
}

std::string stages_text(store_report const& store) {
  std::string out;
  for (auto const& p : store.phases) {
    std::string stages;
    for (auto const& s : p.stages) {
      stages +=
          format("{}{} {:.0f} %", stages.empty() ? "" : ", ", s.name, 100 * s.share_of(p.time));
    }
    out += row(phase_text(p.phase)).end(stages).line();
    out += row("").end(format("{}: {}", p.slowest.stage, p.slowest.reason)).line();
  }
  return out;
}

std::string comparison_table(bench_report const& report) {
  constexpr std::size_t columns = 16;
  row head("", 0);
  for (auto const& s : report.stores) head.add(screen_text(s.name), columns);
  auto out = "\n" + head.line();
  for (std::size_t i = 0; i < bench_phase_count; ++i) {
    auto const which = static_cast<bench_phase>(i);
    row line(phase_text(which), 0);
    for (auto const& s : report.stores) {
      std::string figure = "-";
      for (auto const& p : s.phases) {
        if (p.phase != which) continue;
        figure = p.image_bytes > 0 ? rate_of(p) : format("{:.3f} s", p.time.count());
      }
      line.add(figure, columns);
    }
    out += line.line();
  }
  return out;
}

}  // namespace

std::string phase_text(bench_phase which) {
  if (which == bench_phase::first) return "first dump";
  if (which == bench_phase::changed) return "5 % changed";
  return std::string(name_of(which));
}

std::string bench_subject(bench_report const& r) {
  auto const blocks = block_geometry{r.image_bytes, r.work.block_bytes}.blocks().value;
  auto const cut = format("{} in {} blocks of {}", size_text(r.image_bytes), blocks,
                          size_text(r.work.block_bytes));
  if (r.source) return format("a copy of {}: {}", screen_text(*r.source), cut);
  return format("{} of {}: {:g} % zeros, {:g} % of the others repeat one, lz4 saves {:.1f} %",
                r.work.images == 1 ? "an image" : format("{} images, each", r.work.images), cut,
                r.work.zeros_percent, r.work.dedup_percent, r.saved_percent.value_or(0));
}

std::string bench_table(bench_report const& report) {
  auto out = format("{}; batches of {} blocks; {} cores\n", bench_subject(report),
                    report.batch_blocks, report.cores);
  for (auto const& s : report.stores) {
    out += format("\n{}\n", screen_text(s.name));
    out += phases_table(s) + "\n" + latency_table(s);
    out += "\n  how busy each stage was, and which held the others up\n" + stages_text(s);
  }
  if (report.stores.size() > 1) out += comparison_table(report);
  return out;
}

}  // namespace diskdump
