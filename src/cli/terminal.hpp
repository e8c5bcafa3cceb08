// The live lines at the foot of a terminal: redrawn in place on stderr, each time by one write that
// changes only what differs on the screen. Any thread: a store function's log line is shown from
// where it is written.
#pragma once

#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "cli/screen_line.hpp"
#include "io/unique_fd.hpp"

namespace diskdump {

struct terminal_size {
  std::size_t columns = 80;
  std::size_t rows = 24;
};

// Of the terminal behind `fd`; 80 × 24 where it does not say.
[[nodiscard]] terminal_size size_of_terminal(int fd);

// Whether colours are wanted: NO_COLOR is unset or empty.
[[nodiscard]] bool wants_colour();

// Turns frames into what is written to a terminal. Knows no terminal: it is told the size, and
// trusts that lines are broken anew when the width changes, as nearly all terminals do.
class screen_writer {
 public:
  explicit screen_writer(bool coloured) : coloured_(coloured) {}

  // The bytes that put `lines` in the place of those that are there, below `above`, which stays for
  // good. Lines are cut to the width, and those that are more than the screen has are left out.
  [[nodiscard]] std::string frame(std::string_view above, std::vector<screen_line> const& lines,
                                  terminal_size size);

 private:
  [[nodiscard]] std::size_t rows_taken(terminal_size size) const;

  bool coloured_;
  std::vector<std::size_t> drawn_;  // the columns of each line that is there
};

class terminal_lines {
 public:
  // Whether stderr is a terminal that can move the cursor.
  [[nodiscard]] static bool available();
  terminal_lines();
  ~terminal_lines() { clear(); }

  // Where the terminal takes nothing just now (Ctrl-S, a slow line), the frame is left out: nothing
  // waits for a display.
  void draw(std::vector<screen_line> lines);
  // Lines that stay, above the live ones; broken at blanks to the width.
  void above(std::string_view text);
  void above(screen_line const& line);
  // above(), for lines that begin with the program's name; it must not outlive this object.
  [[nodiscard]] std::function<void(std::string_view)> as_line_writer() {
    return [this](std::string_view text) { above("diskdump: " + std::string(text)); };
  }
  // Nothing live is left; what was kept back for a terminal that took nothing is written.
  void clear();

 private:
  [[nodiscard]] bool flush(bool wait);
  void show(bool wait);

  std::mutex mutex_;
  unique_fd terminal_;
  screen_writer writer_;
  std::vector<screen_line> lines_;
  std::string kept_;       // for above, in no frame yet
  std::string unwritten_;  // of a frame
};

}  // namespace diskdump
