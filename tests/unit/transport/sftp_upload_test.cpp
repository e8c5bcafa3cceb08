// The SFTP writer against servers that answer wrongly; the real one is in ssh_host_test.cpp.
#include "transport/sftp_upload.hpp"

#include <doctest/doctest.h>

#include "async/scope.hpp"
#include "stream_conformance.hpp"
#include "transport/memory_stream.hpp"

namespace diskdump::test {

namespace {

using bytes_of = std::initializer_list<unsigned>;

byte_vector packet(bytes_of body) {
  byte_vector bytes(3);
  bytes.push_back(static_cast<std::byte>(body.size()));
  for (auto const b : body) bytes.push_back(static_cast<std::byte>(b));
  return bytes;
}
byte_vector const version = packet({2, 0, 0, 0, 3});
byte_vector const handle = packet({102, 0, 0, 0, 1, 0, 0, 0, 1, 'h'});
byte_vector const ok = packet({101, 0, 0, 0, 2, 0, 0, 0, 0});
byte_vector const no_space =
    packet({101, 0, 0, 0, 2, 0, 0, 0, 14, 0, 0, 0, 4, 'f', 'u', 'l', 'l', 0, 0, 0, 0});

task<> ignore_input(stream& from) { static_cast<void>(co_await read_all(from)); }
task<> answer(stream& to, byte_vector script) {
  co_await to.write(script);
  co_await to.write_eof();
}
task<> upload(stream& sftp, byte_view content, bool& result) {
  result = co_await sftp_upload(sftp, "host", "/file", content);
}

// Plays a server that says `script` whatever it is asked.
task<bool> against(std::vector<byte_vector> script) {
  auto const executor = co_await asio::this_coro::executor;
  auto pair = make_memory_stream_pair(executor, 1'000'000);
  byte_vector all;
  for (auto const& part : script) append_bytes(all, part);
  byte_vector const content(100);
  bool result = false;
  scope both(executor);
  both.spawn(answer(*pair.second, std::move(all)));
  both.spawn(ignore_input(*pair.second));
  both.spawn(upload(*pair.first, content, result));
  co_await both.join();
  co_return result;
}

}  // namespace

TEST_SUITE("sftp_upload") {
  TEST_CASE("a server that plays by the rules gets the file") {
    test_context test;
    CHECK(test.run(against({version, handle, ok, ok})));
  }

  TEST_CASE("what does not answer as SFTP is no SFTP") {
    test_context test;
    CHECK(!test.run(against({})));
    byte_vector noise(100, std::byte{'x'});
    CHECK(!test.run(against({noise})));
    CHECK(!test.run(against({packet({101, 0, 0, 0, 0, 0, 0, 0, 4})})));
    CHECK(!test.run(against({byte_vector(4)})));
  }

  TEST_CASE("a refusal at any step is an error with the server's words") {
    test_context test;
    auto const full = test.failure_of(against({version, handle, no_space}));
    CHECK(full.code() == transport_errc::transfer_failed);
    CHECK(full.cause() == "write: full (SFTP status 14)");
    CHECK(full.path() == "/file");
    CHECK(test.failure_of(against({version, no_space})).cause().starts_with("open: full"));
    CHECK(test.failure_of(against({version, handle, ok, no_space})).cause().starts_with("close"));
    CHECK(test.failure_of(against({version, handle})).cause() == "the SFTP server ended");
    CHECK(test.failure_of(against({version, ok})).cause().find("handle") != std::string::npos);
    CHECK(test.failure_of(against({version, packet({101})})).cause().find("handle") !=
          std::string::npos);
    CHECK(test.failure_of(against({version, handle, handle})).cause().find("another packet") !=
          std::string::npos);
    CHECK(test.failure_of(against({version, handle, byte_vector(4, std::byte{255})}))
              .cause()
              .find("not SFTP") != std::string::npos);
  }
}

}  // namespace diskdump::test
