#include "cli/bench_charts.hpp"

#include <algorithm>
#include <cmath>

#include "base/format.hpp"
#include "cli/screen_text.hpp"
#include "cli/text.hpp"

namespace diskdump {

namespace {

// In the units of the drawing, which are those of a phone's screen.
constexpr double width = 360;
constexpr double text_height = 16;

std::string text_at(double x, double y, std::string_view text, char const* more = "") {
  return format("<text x=\"{:.1f}\" y=\"{:.1f}\"{}>{}</text>", x, y, more, html_text(text));
}

std::string line_at(double x1, double y1, double x2, double y2) {
  return format("<line class=\"grid\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>",
                x1, y1, x2, y2);
}

std::string drawing(double height, std::string const& content, std::string_view what) {
  return format("<svg viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\" aria-label=\"{}\">{}</svg>\n",
                width, height, html_text(what), content);
}

// 1, 2 or 5 times a power of ten: about `steps` of them are `most`.
double nice_step(double most, int steps) {
  auto const raw = std::max(most, 1e-9) / steps;
  auto const power = std::pow(10, std::floor(std::log10(raw)));
  for (double const factor : {1.0, 2.0, 5.0}) {
    if (raw <= factor * power) return factor * power;
  }
  return 10 * power;
}

// The part of a drawing where lines are, with room for the labels of its axes.
struct plot {
  double left = 62, right = width - 10, top = 8, bottom = 130;

  [[nodiscard]] double x(double share) const { return left + share * (right - left); }
  [[nodiscard]] double y(double share) const { return bottom - share * (bottom - top); }
};

// A power of ten without the digits that latency_text() fills up with: "10 µs".
std::string power_text(double ns) {
  auto text = latency_text(std::chrono::nanoseconds(static_cast<std::int64_t>(ns)));
  auto const point = text.find('.');
  if (point != std::string::npos) text.erase(point, text.find(' ') - point);
  return text;
}

std::string path_of(std::vector<std::pair<double, double>> const& points, std::size_t colour,
                    std::string_view name) {
  std::string way;
  for (auto const& [x, y] : points) {
    way += format("{}{:.1f},{:.1f}", way.empty() ? "M" : "L", x, y);
  }
  return format("<path class=\"line {}\" d=\"{}\"><title>{}</title></path>", colour_class(colour),
                way, html_text(name));
}

}  // namespace

std::string html_text(std::string_view text) {
  std::string out;
  for (char const c : screen_text(text)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string colour_class(std::size_t n) { return format("s{}", n % chart_colours); }

std::string bar_chart(std::vector<bar_group> const& groups, double most) {
  constexpr double bar_height = 14, gap = 4, label_room = 18, letter_width = 6.2;
  std::size_t letters = 0;
  for (auto const& g : groups) {
    for (auto const& b : g.bars) {
      most = std::max(most, b.value);
      letters = std::max(letters, columns_of(b.text));
    }
  }
  auto const room = width - 12 - static_cast<double>(letters) * letter_width;
  auto const length_of = [&](double value) { return most > 0 ? value / most * room : 0; };
  auto const rectangle = [&](bar const& b, char const* more, double from, double y, double length) {
    return format("<rect class=\"{}{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{}\"/>",
                  colour_class(b.colour), more, from, y, length, bar_height);
  };
  std::string out;
  double y = 0;
  for (auto const& g : groups) {
    out += text_at(0, y + 13, g.label, " class=\"label\"");
    y += label_room;
    for (auto const& b : g.bars) {
      auto const length = length_of(b.value), faint = length_of(b.second);
      out += rectangle(b, "", 0, y, std::max(length - faint, 1.0));
      if (faint > 0) out += rectangle(b, " faint", length - faint, y, faint);
      out += text_at(length + 5, y + 11.5, b.text);
      y += bar_height + gap;
    }
    y += gap;
  }
  return drawing(y, out, "bars");
}

std::string rate_chart(std::vector<rate_line> const& lines, double seconds) {
  plot const p;
  double most = 0;
  for (auto const& l : lines) {
    for (auto const& point : l.points) most = std::max(most, point.second);
  }
  auto const step = nice_step(most, 3);
  auto const top = std::max(std::ceil(most / step), 1.0) * step;
  std::string out;
  for (double at = 0; at <= top * 1.001; at += step) {
    auto const y = p.y(at / top);
    out += line_at(p.left, y, p.right, y);
    out += text_at(p.left - 5, y + 4, at == 0 ? "0" : rate_text(at), " class=\"end\"");
  }
  auto const duration = std::max(seconds, 1e-9);
  auto const tick = nice_step(duration, 4);
  for (double at = 0; at <= duration * 1.001; at += tick) {
    out += text_at(p.x(at / duration), p.bottom + text_height, format("{:g} s", at),
                   at == 0 ? "" : " class=\"mid\"");
  }
  for (auto const& l : lines) {
    std::vector<std::pair<double, double>> points;
    for (auto const& [t, rate] : l.points) {
      points.emplace_back(p.x(std::min(t / duration, 1.0)), p.y(rate / top));
    }
    if (!points.empty()) out += path_of(points, l.colour, l.name);
  }
  return drawing(p.bottom + text_height + 6, out, "throughput over time");
}

std::string latency_chart(std::vector<latency_line> const& lines) {
  plot const p{.bottom = 170};
  // By nines: 90 % is one, 99 % two.
  static constexpr double nines_max = 4;
  auto const nines = [](double share) {
    return std::clamp(-std::log10(std::max(1 - share, 1e-9)), 0.0, nines_max);
  };
  double least = 1e18, most = 1;
  for (auto const& l : lines) {
    for (auto const& [share, ns] : l.points) {
      least = std::min(least, std::max(ns, 1.0));
      most = std::max(most, ns);
    }
  }
  auto const low = std::floor(std::log10(std::min(least, most)));
  auto const high = std::max(std::ceil(std::log10(most)), low + 1);
  auto const y_of = [&](double ns) {
    return p.y((std::log10(std::max(ns, 1.0)) - low) / (high - low));
  };
  std::string out;
  for (auto power = low; power <= high; ++power) {
    auto const ns = std::pow(10, power);
    out += line_at(p.left, y_of(ns), p.right, y_of(ns));
    out += text_at(p.left - 5, y_of(ns) + 4, power_text(ns), " class=\"end\"");
  }
  struct mark {
    double share;
    char const* text;
  };
  for (auto const& m : {mark{0.5, "50 %"}, mark{0.9, "90 %"}, mark{0.99, "99 %"},
                        mark{0.999, "99.9 %"}, mark{0.9999, "99.99 %"}}) {
    auto const x = p.x(nines(m.share) / nines_max);
    out += line_at(x, p.top, x, p.bottom);
    out += text_at(x, p.bottom + text_height, m.text,
                   m.share > 0.9995 ? " class=\"end\"" : " class=\"mid\"");
  }
  for (auto const& l : lines) {
    // A stair: so many calls took no longer than this.
    std::vector<std::pair<double, double>> points;
    double before = 0;
    for (auto const& [share, ns] : l.points) {
      points.emplace_back(p.x(nines(before) / nines_max), y_of(ns));
      points.emplace_back(p.x(nines(share) / nines_max), y_of(ns));
      before = share;
    }
    if (!points.empty()) out += path_of(points, l.colour, l.name);
  }
  return drawing(p.bottom + text_height + 6, out, "latency by percentile");
}

}  // namespace diskdump
