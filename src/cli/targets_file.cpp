#include "cli/targets_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "cli/options.hpp"
#include "cli/screen_text.hpp"
#include "io/unique_fd.hpp"

namespace diskdump {

namespace {

constexpr std::string_view blanks = " \t";
constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";

// Takes a word off the front of a line that begins with it.
std::string take_word(std::string_view& line) {
  std::string word;
  char quote = '\0';
  std::size_t at = 0;
  for (; at < line.size(); ++at) {
    char const c = line[at];
    if (quote == '\0' && blanks.find(c) != std::string_view::npos) break;
    if (c == '\\' && quote != '\'') {
      if (at + 1 == line.size()) throw usage_error("nothing follows the backslash at the end");
      char const next = line[++at];
      // As in a shell, so that a path can be written the same way in both.
      bool const kept = quote == '"' && next != '"' && next != '\\' && next != '$' && next != '`';
      if (kept) word += c;
      word += next;
    } else if (quote != '\0' ? c == quote : (c == '\'' || c == '"')) {
      quote = quote == '\0' ? c : '\0';
    } else {
      word += c;
    }
  }
  if (quote != '\0') throw usage_error(format("the quote {} is not closed", quote));
  line.remove_prefix(at);
  return word;
}

std::vector<std::string> words_of(std::string_view line) {
  std::vector<std::string> words;
  for (;;) {
    auto const start = line.find_first_not_of(blanks);
    if (start == std::string_view::npos || line[start] == '#') return words;
    if (words.size() == limits::targets_line_words_max) {
      throw usage_error(format("more than {} words", limits::targets_line_words_max));
    }
    line.remove_prefix(start);
    words.push_back(take_word(line));
  }
}

// The target of a line; none where it is blank or a comment.
std::optional<target_argument> target_of(std::string_view line) {
  if (line.size() > limits::targets_line_bytes_max) {
    throw usage_error(format("the line is longer than {} bytes", limits::targets_line_bytes_max));
  }
  if (line.find('\0') != std::string_view::npos) throw usage_error("a zero byte: this is no text");
  auto const words = words_of(line);
  if (words.empty()) return std::nullopt;
  // Asked about whatever is no flag of a target.
  auto const refuse = [](std::string_view option) -> bool {
    throw usage_error(
        format("{} is no flag of a target; what holds for the whole dump stands on the command "
               "line",
               option.substr(0, option.find('='))));
  };
  auto split = split_target_arguments(words, refuse);
  if (split.targets.size() != 1) throw usage_error("one target a line, with its flags after it");
  return std::move(split.targets.front());
}

std::string content_of(int fd, std::string const& name) {
  std::string text(limits::targets_file_bytes_max + 1, '\0');
  std::size_t used = 0;
  while (used < text.size()) {
    auto const n = ::read(fd, text.data() + used, text.size() - used);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw usage_error(format("--targets-from {}: {}", name, std::strerror(errno)));
    if (n == 0) break;
    used += static_cast<std::size_t>(n);
  }
  if (used > limits::targets_file_bytes_max) {
    throw usage_error(
        format("--targets-from {}: larger than {} bytes", name, limits::targets_file_bytes_max));
  }
  text.resize(used);
  return text;
}

}  // namespace

std::vector<target_argument> parse_targets_list(std::string_view text, std::string_view file) {
  if (text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
  std::vector<target_argument> targets;
  for (std::size_t number = 1; !text.empty(); ++number) {
    auto const end = std::min(text.find('\n'), text.size());
    auto line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    text.remove_prefix(std::min(end + 1, text.size()));
    auto const where = format("{}:{}", file, number);
    try {
      auto target = target_of(line);
      if (!target) continue;
      if (targets.size() == limits::targets_max) {
        throw usage_error(format("more than {} targets", limits::targets_max));
      }
      target->where = where;
      targets.push_back(std::move(*target));
    } catch (usage_error const& e) {
      throw usage_error(screen_text(format("{}: {}", where, e.what())));
    }
  }
  return targets;
}

std::vector<target_argument> read_targets_file(std::string const& path) {
  if (path == "-") return parse_targets_list(content_of(STDIN_FILENO, "-"), "stdin");
  auto const shown = screen_text(path);
  unique_fd const file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) throw usage_error(format("--targets-from {}: {}", shown, std::strerror(errno)));
  return parse_targets_list(content_of(file.get(), shown), shown);
}

}  // namespace diskdump
