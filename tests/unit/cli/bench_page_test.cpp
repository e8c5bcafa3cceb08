#include <doctest/doctest.h>

#include "cli/bench_charts.hpp"
#include "cli/bench_text.hpp"
#include "cli/text.hpp"

namespace diskdump {

namespace {

using std::chrono::nanoseconds;

phase_report phase_of(bench_phase which) {
  phase_report p;
  p.phase = which;
  p.time = std::chrono::milliseconds(1500);
  if (which != bench_phase::collect) p.image_bytes = 3'000'000'000;
  if (which <= bench_phase::changed) p.blocks = p.blocks_stored = 8000;
  p.disk_bytes = 12345678;
  p.files = 17;
  latency_histogram h;
  for (int i = 1; i < 1000; ++i) h.add(std::chrono::microseconds(i));
  p.calls[0] = {.count = h.count(),
                .p50 = h.quantile(0.5),
                .p99 = h.quantile(0.99),
                .p999 = h.quantile(0.999),
                .max = h.max(),
                .total = h.total(),
                .distribution = h.distribution()};
  p.stages = {
      {.name = "verify", .does = "hashes", .threads = 2, .busy = std::chrono::milliseconds(1200)}};
  p.slowest = {"verify", "because it is"};
  p.counters = {"read", "stored"};
  for (int i = 0; i < 20; ++i) {
    p.series.add(std::chrono::milliseconds(i * 75),
                 {static_cast<std::uint64_t>(i) * 100'000'000, static_cast<std::uint64_t>(i) * 7});
  }
  return p;
}

bench_report report_of(std::vector<std::string> const& stores) {
  bench_report r;
  r.work = {
      .image_bytes = 1 << 30, .block_bytes = 131072, .zeros_percent = 20, .dedup_percent = 25};
  r.image_bytes = r.work.image_bytes;
  r.batch_blocks = 80;
  r.cores = 2;
  r.saved_percent = 50.04;
  r.version = "9";
  for (auto const& name : stores) {
    store_report s{.name = name, .phases = {}};
    for (std::size_t i = 0; i < bench_phase_count; ++i) {
      s.phases.push_back(phase_of(static_cast<bench_phase>(i)));
    }
    r.stores.push_back(std::move(s));
  }
  return r;
}

std::size_t count_of(std::string const& text, std::string_view what) {
  std::size_t n = 0;
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

}  // namespace

TEST_SUITE("bench page") {
  TEST_CASE("the page has every store, its phases and charts, and is whole") {
    auto const page = bench_page(report_of({"loose:/a", "pack:/b", "null:"}));
    CHECK(page.starts_with("<!DOCTYPE html>"));
    CHECK(page.ends_with("</html>\n"));
    for (auto const* name : {"loose:/a", "pack:/b", "null:"}) {
      CHECK(count_of(page, std::string("<h2>") + name + "</h2>") == 1);
    }
    for (std::size_t i = 0; i < bench_phase_count; ++i) {
      CHECK(page.find(phase_text(static_cast<bench_phase>(i))) != std::string::npos);
    }
    CHECK(count_of(page, "<svg") > 10);
    CHECK(count_of(page, "<svg") == count_of(page, "</svg>"));
    CHECK(count_of(page, "<section") == count_of(page, "</section>"));
    CHECK(count_of(page, "<div") == count_of(page, "</div>"));
    CHECK(page.find("2000 MB/s") != std::string::npos);
    CHECK(page.find("verify: because") == std::string::npos);
    CHECK(page.find("because it is.") != std::string::npos);
  }

  TEST_CASE("the page asks for nothing else, and fits a phone and a dark room") {
    auto const page = bench_page(report_of({"pack:/b"}));
    CHECK(page.find("name=\"viewport\" content=\"width=device-width") != std::string::npos);
    CHECK(page.find("prefers-color-scheme: dark") != std::string::npos);
    CHECK(page.find("default-src 'none'") != std::string::npos);
    for (auto const* outside : {"http://", "https://", "src=", "href=", "@import", "url("}) {
      CAPTURE(outside);
      CHECK(page.find(outside) == std::string::npos);
    }
  }

  TEST_CASE("what comes from outside is text and nothing else") {
    std::string const evil = "pack:/<script>alert(\"1\")</script>&'\x1b[2J\u202e";
    auto report = report_of({evil});
    report.source = evil;
    auto const page = bench_page(report);
    CHECK(page.find("<script") == std::string::npos);
    CHECK(page.find('\x1b') == std::string::npos);
    CHECK(page.find("\u202e") == std::string::npos);
    CHECK(page.find("pack:/&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;") !=
          std::string::npos);
    auto const table = bench_table(report);
    CHECK(table.find('\x1b') == std::string::npos);
    CHECK(html_text("a<b>&\"'") == "a&lt;b&gt;&amp;&quot;&#39;");
  }

  TEST_CASE("phases that a store does not have are left out, and figures are never nan") {
    auto report = report_of({"pack:/b", "null:"});
    report.stores[1].phases.resize(3);
    for (auto& p : report.stores[1].phases) p.disk_bytes = p.files = std::nullopt;
    report.stores[1].phases[0].series = {};
    report.stores[1].phases[1].calls = {};
    report.stores[1].phases[2].time = {};
    report.stores[1].phases[2].image_bytes = 0;
    for (auto const& text : {bench_page(report), bench_table(report)}) {
      CHECK(text.find("nan") == std::string::npos);
      CHECK(text.find("inf") == std::string::npos);
    }
    CHECK(bench_page(report_of({})).ends_with("</html>\n"));
  }

  TEST_CASE("the table has the stores side by side, and why") {
    auto const table = bench_table(report_of({"loose:/a", "pack:/b"}));
    CHECK(table.find("an image of 1.0 GiB in 8192 blocks of 128.0 KiB: 20 % zeros, 25 % of the "
                     "others repeat one, lz4 saves 50.0 %") != std::string::npos);
    CHECK(table.find("verify: because it is") != std::string::npos);
    CHECK(count_of(table, "loose:/a") == 2);
    CHECK(count_of(bench_table(report_of({"loose:/a"})), "loose:/a") == 1);
  }

  TEST_CASE("latencies have three digits") {
    CHECK(latency_text(nanoseconds(0)) == "0 ns");
    CHECK(latency_text(nanoseconds(999)) == "999 ns");
    CHECK(latency_text(nanoseconds(1234)) == "1.23 µs");
    CHECK(latency_text(nanoseconds(12'345)) == "12.3 µs");
    CHECK(latency_text(nanoseconds(123'456)) == "123 µs");
    CHECK(latency_text(nanoseconds(999'600)) == "1.00 ms");
    CHECK(latency_text(nanoseconds(9'996'000)) == "10.0 ms");
    CHECK(latency_text(std::chrono::seconds(75)) == "75.0 s");
    CHECK(latency_text(std::chrono::seconds(5000)) == "5000 s");
  }
}

}  // namespace diskdump
