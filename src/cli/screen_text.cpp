#include "cli/screen_text.hpp"

#include <locale.h>

#include <algorithm>
#include <cstdint>
#include <cwchar>

#include "base/format.hpp"

namespace diskdump {

namespace {

struct letter {
  char32_t code = 0;
  std::size_t bytes = 1;
  bool valid = false;
};

// The letter at the start of a text that is not empty. What is too long for its code, a surrogate,
// or beyond U+10FFFF is no UTF-8.
letter first_letter(std::string_view text) {
  auto const lead = static_cast<unsigned char>(text.front());
  if (lead < 0x80) return {lead, 1, true};
  std::size_t const bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) return {};
  char32_t code = lead & (0x7fU >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    auto const next = static_cast<unsigned char>(text[i]);
    if ((next & 0xc0U) != 0x80) return {};
    code = (code << 6U) | (next & 0x3fU);
  }
  bool const too_long = (bytes == 3 && code < 0x800) || (bytes == 4 && code < 0x10000);
  bool const surrogate = code >= 0xd800 && code <= 0xdfff;
  if (too_long || surrogate || code > 0x10ffff) return {};
  return {code, bytes, true};
}

// The C library's table, whatever the locale of this process; -1 for what does not print.
int library_width(char32_t code) {
  static locale_t const utf8 = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  // Without that locale: one column each, which is right for most.
  if (utf8 == nullptr) return 1;
  auto const before = ::uselocale(utf8);
  auto const width = ::wcwidth(static_cast<wchar_t>(code));
  ::uselocale(before);
  return width;
}

// Marks that turn the direction of writing, and what has no shape at all: with them a name could
// read like another.
bool deceives(char32_t code) {
  return (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
         (code >= 0x2060 && code <= 0x206f) || code == 0x061c || code == 0xfeff ||
         (code >= 0xe0000 && code <= 0xe0fff);
}

bool is_control(char32_t code) { return code < 0x20 || (code >= 0x7f && code < 0xa0); }

std::size_t width_of(letter const& l) {
  if (!l.valid || is_control(l.code)) return 1;
  if (l.code < 0x7f) return 1;
  auto const width = library_width(l.code);
  return width < 0 ? 1 : static_cast<std::size_t>(width);
}

// The longest end that fits.
std::string_view end_of(std::string_view text, std::size_t columns) {
  std::vector<std::pair<std::size_t, std::size_t>> letters;  // start, width
  for (std::size_t at = 0; at < text.size();) {
    auto const l = first_letter(text.substr(at));
    letters.emplace_back(at, width_of(l));
    at += l.bytes;
  }
  std::size_t from = text.size(), used = 0;
  for (auto i = letters.size(); i-- > 0;) {
    auto const [start, width] = letters[i];
    if (used + width > columns) break;
    used += width;
    // A combining mark goes with its letter or not at all.
    if (width > 0) from = start;
  }
  return text.substr(from);
}

}  // namespace

std::string screen_text(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    auto const l = first_letter(text);
    if (l.code == '\n' || l.code == '\t' || l.code == '\r') {
      out += ' ';
    } else if (!l.valid) {
      out += format("\\x{:02x}", static_cast<unsigned char>(text.front()));
    } else if (is_control(l.code)) {
      out += format("\\x{:02x}", static_cast<std::uint32_t>(l.code));
    } else if (deceives(l.code) || (l.code > 0x7f && library_width(l.code) < 0)) {
      out += format("\\u{:04x}", static_cast<std::uint32_t>(l.code));
    } else {
      out += text.substr(0, l.bytes);
    }
    text.remove_prefix(l.bytes);
  }
  return out;
}

std::size_t columns_of(std::string_view text) {
  std::size_t columns = 0;
  while (!text.empty()) {
    auto const l = first_letter(text);
    columns += width_of(l);
    text.remove_prefix(l.bytes);
  }
  return columns;
}

std::string cut_end(std::string_view text, std::size_t columns) {
  std::size_t used = 0, at = 0;
  while (at < text.size()) {
    auto const l = first_letter(text.substr(at));
    auto const width = width_of(l);
    if (used + width > columns) break;
    used += width;
    at += l.bytes;
  }
  return std::string(text.substr(0, at));
}

std::string cut_middle(std::string_view text, std::size_t columns) {
  if (columns_of(text) <= columns) return std::string(text);
  if (columns == 0) return "";
  auto const begin = (columns - 1) / 2;
  return cut_end(text, begin) + "…" + std::string(end_of(text, columns - 1 - begin));
}

std::vector<std::string> wrapped(std::string_view text, std::size_t columns, std::size_t indent) {
  if (columns <= indent) return {std::string(text)};
  std::vector<std::string> lines;
  std::string const margin(indent, ' ');
  for (;;) {
    auto const room = lines.empty() ? columns : columns - indent;
    auto line = cut_end(text, room);
    bool const last = line.size() == text.size();
    if (!last && text[line.size()] != ' ') {
      auto const blank = line.find_last_of(' ');
      if (blank != std::string::npos && blank > 0) line.resize(blank);
    }
    // A letter that is wider than a line.
    if (line.empty() && !text.empty()) line = text.substr(0, first_letter(text).bytes);
    text.remove_prefix(line.size());
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
    line.erase(line.find_last_not_of(' ') + 1);
    lines.push_back(lines.empty() ? line : margin + line);
    if (text.empty()) return lines;
  }
}

std::string fit_left(std::string_view text, std::size_t columns) {
  auto out = cut_middle(text, columns);
  return out + std::string(columns - columns_of(out), ' ');
}

std::string fit_right(std::string_view text, std::size_t columns) {
  auto const out = cut_middle(text, columns);
  return std::string(columns - columns_of(out), ' ') + out;
}

}  // namespace diskdump
