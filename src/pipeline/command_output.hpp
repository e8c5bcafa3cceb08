// What a command around a dump prints, taken apart into lines for a person, and how it ended. A
// pure machine; what comes in is a target's and is not believed.
//
// The command's shell prints a mark before it and one with its status behind it, with a number in
// them that was chosen for this run: what comes before the first is a login script's, and only the
// second one proves that the command has ended.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.hpp"

namespace diskdump {

class command_output {
 public:
  // `mark` as report_mark(); `on_line` gets each line, printable, at most so many as the limits
  // say.
  command_output(std::string mark, std::function<void(std::string const&)> on_line);

  // Takes what was read; what follows the end is ignored.
  void feed(byte_view bytes);

  // Whether the command was started, and the status it ended with.
  [[nodiscard]] bool begun() const noexcept { return begun_; }
  [[nodiscard]] std::optional<int> status() const noexcept { return status_; }
  // The last line it printed that has more than blanks in it, printable.
  [[nodiscard]] std::string const& last_line() const noexcept { return last_line_; }

 private:
  void on_text(std::string_view text);
  void end_line();

  std::string begin_mark_;
  std::string end_mark_;
  std::function<void(std::string const&)> on_line_;
  // Invariant: at most a line's bound and a mark; what exceeds it is passed over.
  std::string line_;
  bool cut_ = false;
  std::size_t lines_ = 0;
  bool begun_ = false;
  std::optional<int> status_;
  std::string last_line_;
};

}  // namespace diskdump
