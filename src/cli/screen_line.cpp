#include "cli/screen_line.hpp"

#include "cli/screen_text.hpp"

namespace diskdump {

namespace {

char const* begin_of(ink colour) {
  switch (colour) {
    case ink::plain:
      return "";
    case ink::good:
      return "\x1b[32m";
    case ink::bad:
      return "\x1b[31m";
  }
  return "";
}

}  // namespace

std::string render(screen_line const& line, std::size_t columns, bool coloured) {
  std::string out;
  for (auto const& [text, colour] : line) {
    auto const part = cut_end(text, columns);
    columns -= columns_of(part);
    bool const paint = coloured && colour != ink::plain && !part.empty();
    out += paint ? begin_of(colour) + part + "\x1b[0m" : part;
    if (part.size() < text.size()) break;
  }
  return out;
}

}  // namespace diskdump
