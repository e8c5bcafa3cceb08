#include "pipeline/command_output.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/limits.hpp"
#include "base/log.hpp"

namespace diskdump {

command_output::command_output(std::string mark, std::function<void(std::string const&)> on_line)
    : begin_mark_(mark + ":begin"), end_mark_(mark + ":status:"), on_line_(std::move(on_line)) {}

void command_output::feed(byte_view bytes) {
  for (auto text = as_text(bytes); !text.empty() && !status_;) {
    auto const end = text.find('\n');
    on_text(text.substr(0, end));
    if (end == std::string_view::npos) return;
    end_line();
    text.remove_prefix(end + 1);
  }
}

// A mark may stand behind text without a line end, and that text may be as long as it likes: of a
// line that is cut, the end is kept, where the mark would be.
void command_output::on_text(std::string_view text) {
  line_ += text;
  auto const mark_max = end_mark_.size() + 8;
  auto const most = limits::target_command_line_bytes_max + mark_max;
  if (line_.size() <= most) return;
  cut_ = true;
  auto const shown = limits::target_command_line_bytes_max;
  line_.erase(shown, line_.size() - shown - mark_max);
}

void command_output::end_line() {
  auto line = std::exchange(line_, {});
  bool const cut = std::exchange(cut_, false);
  if (!begun_) {
    begun_ = line.ends_with(begin_mark_);
    return;
  }
  if (auto const at = line.rfind(end_mark_); at != std::string::npos) {
    auto const number = std::string_view(line).substr(at + end_mark_.size());
    int status = 0;
    auto const [end, failed] =
        std::from_chars(number.data(), number.data() + number.size(), status);
    if (failed == std::errc() && end == number.data() + number.size()) status_ = status;
    line.erase(at);
    if (line.empty()) return;
  }
  if (cut) line.resize(std::min(line.size(), limits::target_command_line_bytes_max));
  auto shown = printable(line, limits::target_command_line_bytes_max);
  if (line.find_first_not_of(" \t\r") != std::string::npos) last_line_ = shown;
  ++lines_;
  if (lines_ <= limits::target_command_lines_max) on_line_(shown);
  if (lines_ == limits::target_command_lines_max) on_line_("(what follows is not shown)");
}

}  // namespace diskdump
