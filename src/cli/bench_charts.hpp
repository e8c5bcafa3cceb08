// Charts as SVG texts, drawn for a width that a phone has: in a wider window several stand side by
// side. Colours are those of the page's style: classes s0 to s7 for what is compared. Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace diskdump {

// Text from outside as HTML may hold it, in an element or a quoted attribute.
[[nodiscard]] std::string html_text(std::string_view text);

// The class of the n-th thing that is compared; there are so many.
inline constexpr std::size_t chart_colours = 8;
[[nodiscard]] std::string colour_class(std::size_t n);

// Horizontal bars in groups, from 0 to `most`, or to the longest. Texts are escaped here.
struct bar {
  double value = 0;
  double second = 0;  // of `value`, the part that is drawn fainter, at its end
  std::string text;   // beside it
  std::size_t colour = 0;
};
struct bar_group {
  std::string label;
  std::vector<bar> bars;
};
[[nodiscard]] std::string bar_chart(std::vector<bar_group> const& groups, double most = 0);

// Lines over time from 0, y from 0, in bytes per second.
struct rate_line {
  std::string name;
  std::size_t colour = 0;
  std::vector<std::pair<double, double>> points;  // seconds, bytes per second
};
[[nodiscard]] std::string rate_chart(std::vector<rate_line> const& lines, double seconds);

// Latencies by percentile: x from 50 % by nines to 99.99 %, y logarithmic.
struct latency_line {
  std::string name;
  std::size_t colour = 0;
  std::vector<std::pair<double, double>> points;  // share of calls, nanoseconds; ascending
};
[[nodiscard]] std::string latency_chart(std::vector<latency_line> const& lines);

}  // namespace diskdump
