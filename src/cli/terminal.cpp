#include "cli/terminal.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "cli/screen_text.hpp"

namespace diskdump {

namespace {

// What waits for a terminal that is held; more than that is written though it may block.
constexpr std::size_t kept_bytes_max = 64 * limits::KiB;

constexpr std::size_t terminal_name_bytes_max = 4096;

// Terminals that know it show all of it at once; the others ignore it.
constexpr std::string_view update_begins = "\x1b[?2026h";
constexpr std::string_view update_ends = "\x1b[?2026l";
constexpr std::string_view rest_of_line_away = "\x1b[K";
constexpr std::string_view rest_of_screen_away = "\x1b[J";

// The terminal of stderr with a description of its own, so that only what is drawn does not wait.
unique_fd own_terminal() {
  char name[terminal_name_bytes_max];
  if (::ttyname_r(STDERR_FILENO, name, sizeof name) != 0) return {};
  return unique_fd(::open(name, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
}

std::size_t width_of(screen_line const& line) {
  std::size_t columns = 0;
  for (auto const& s : line) columns += columns_of(s.text);
  return columns;
}

}  // namespace

terminal_size size_of_terminal(int fd) {
  winsize w{};
  if (::ioctl(fd, TIOCGWINSZ, &w) != 0 || w.ws_col == 0 || w.ws_row == 0) return {};
  return {std::min<std::size_t>(w.ws_col, limits::terminal_columns_max),
          std::min<std::size_t>(w.ws_row, limits::terminal_rows_max)};
}

bool wants_colour() {
  char const* const no = std::getenv("NO_COLOR");
  return no == nullptr || *no == '\0';
}

// A terminal that became narrower has broken the lines that are there.
std::size_t screen_writer::rows_taken(terminal_size size) const {
  std::size_t rows = 0;
  for (auto const columns : drawn_) {
    rows += std::max<std::size_t>(1, (columns + size.columns - 1) / size.columns);
  }
  // What left the screen at its top cannot be reached.
  return std::min(rows, size.rows - 1);
}

std::string screen_writer::frame(std::string_view above, std::vector<screen_line> const& lines,
                                 terminal_size size) {
  if (drawn_.empty() && lines.empty()) return std::string(above);
  std::string out(update_begins);
  if (auto const up = rows_taken(size); up > 0) out += format("\x1b[{}A\r", up);
  while (!above.empty()) {
    auto const end = std::min(above.find('\n'), above.size());
    out += above.substr(0, end);
    out += rest_of_line_away;
    out += '\n';
    above.remove_prefix(std::min(end + 1, above.size()));
  }
  drawn_.clear();
  // The cursor rests in the row below the last line, and the last column is left free: some
  // terminals go to the next row when it is filled.
  auto const columns = size.columns - 1;
  auto const count = std::min(lines.size(), size.rows - 1);
  for (std::size_t i = 0; i < count; ++i) {
    out += render(lines[i], columns, coloured_);
    out += rest_of_line_away;
    out += '\n';
    drawn_.push_back(std::min(columns, width_of(lines[i])));
  }
  out += rest_of_screen_away;
  out += update_ends;
  return out;
}

bool terminal_lines::available() {
  char const* const kind = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) == 1 && kind != nullptr && *kind != '\0' &&
         std::strcmp(kind, "dumb") != 0;
}

// What a terminal that is held has not taken is written first, whenever it takes something again;
// until then there is no new frame.
bool terminal_lines::flush(bool wait) {
  int const fd = terminal_ ? terminal_.get() : STDERR_FILENO;
  while (!unwritten_.empty()) {
    auto const n = ::write(fd, unwritten_.data(), unwritten_.size());
    if (n >= 0) {
      unwritten_.erase(0, static_cast<std::size_t>(n));
    } else if (errno == EAGAIN && wait) {
      pollfd out{fd, POLLOUT, 0};
      ::poll(&out, 1, -1);
    } else if (errno == EAGAIN) {
      return false;
    } else if (errno != EINTR) {
      unwritten_.clear();  // the terminal is gone; nobody is there to be told
    }
  }
  return true;
}

void terminal_lines::show(bool wait) {
  wait = wait || kept_.size() > kept_bytes_max;
  if (!flush(wait)) return;
  unwritten_ = writer_.frame(kept_, lines_, size_of_terminal(STDERR_FILENO));
  kept_.clear();
  static_cast<void>(flush(wait));
}

terminal_lines::terminal_lines() : terminal_(own_terminal()), writer_(wants_colour()) {}

void terminal_lines::draw(std::vector<screen_line> lines) {
  std::lock_guard const lock(mutex_);
  lines_ = std::move(lines);
  show(false);
}

void terminal_lines::above(std::string_view text) {
  std::lock_guard const lock(mutex_);
  constexpr std::size_t indent = 4;
  auto const columns = size_of_terminal(STDERR_FILENO).columns - 1;
  while (!text.empty()) {
    auto const end = std::min(text.find('\n'), text.size());
    for (auto const& line : wrapped(text.substr(0, end), columns, indent)) kept_ += line + "\n";
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  show(false);
}

void terminal_lines::above(screen_line const& line) {
  std::lock_guard const lock(mutex_);
  kept_ += render(line, size_of_terminal(STDERR_FILENO).columns - 1, wants_colour()) + "\n";
  show(false);
}

void terminal_lines::clear() {
  std::lock_guard const lock(mutex_);
  lines_.clear();
  show(true);
}

}  // namespace diskdump
