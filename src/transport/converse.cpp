#include "transport/converse.hpp"

#include <sys/random.h>

#include <array>

#include "async/scope.hpp"
#include "base/assert.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "transport/connect.hpp"

namespace diskdump {

std::string random_hex() {
  std::array<std::byte, 8> bytes{};
  auto const n = ::getrandom(bytes.data(), bytes.size(), 0);
  DISKDUMP_ASSERT(n == static_cast<ssize_t>(bytes.size()));
  std::string text;
  for (auto const b : bytes) text += format("{:02x}", std::to_integer<unsigned>(b));
  return text;
}

task<> feed(stream& to, byte_view input, bool whole) {
  try {
    co_await to.write(input);
    if (whole) co_await to.write_eof();
  } catch (error const& e) {
    if (!(e.code() == transport_errc::connection_lost)) throw;
  }
}

namespace {

// Completes when the report is whole (`reported`), or at the end of stdout.
task<> read_report(stream& from, report_parser& parser, bool& reported) {
  byte_vector buffer(limits::launch_report_bytes_max);
  while (!reported) {
    auto const n = co_await from.read(byte_span(buffer));
    if (n == 0) co_return;
    reported = parser.feed(byte_view(buffer).first(n));
  }
}

}  // namespace

task<bool> converse(stream& with, byte_view input, bool whole, report_parser& parser) {
  bool reported = false;
  co_await with_scope([&](scope& both) {
    if (!input.empty()) both.spawn(feed(with, input, whole));
    both.spawn(read_report(with, parser, reported));
  });
  co_return reported;
}

}  // namespace diskdump
