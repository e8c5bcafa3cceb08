// The machine without a socket: what it says and how it takes bytes that no SSH server would send.
#include "transport/ssh_machine.hpp"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <list>
#include <thread>

#include "sshd_fixture.hpp"
#include "stream_conformance.hpp"
#include "transport/serial_queue.hpp"

namespace diskdump::test {

namespace {

// Puts as much as fits into the machine's input; the rest of `bytes` is given back.
byte_view feed(ssh_machine& machine, byte_view bytes) {
  while (!bytes.empty()) {
    auto const room = machine.input().writable();
    if (room.empty()) break;
    auto const n = std::min(room.size(), bytes.size());
    std::copy_n(bytes.begin(), n, room.begin());
    machine.input().commit(n);
    bytes = bytes.subspan(n);
  }
  return bytes;
}

}  // namespace

TEST_SUITE("ssh_machine") {
  TEST_CASE("a handshake begins with our version line and waits for the other one") {
    ssh_machine machine;
    machine.prefer_host_keys({"ssh-ed25519"});
    CHECK(!machine.handshake());
    CHECK(machine.starved());
    auto const hello = machine.take_output();
    CHECK(as_text(hello).starts_with("SSH-2.0-libssh2"));
    CHECK(as_text(hello).ends_with("\r\n"));
    CHECK(machine.take_output().empty());
  }

  TEST_CASE("a version line, byte by byte, is answered with the key exchange, whole") {
    ssh_machine machine;
    CHECK(!machine.handshake());
    static_cast<void>(machine.take_output());
    std::string_view const line = "SSH-2.0-OpenSSH_9.9\r\n";
    byte_vector output;
    for (char const c : line) {
      CHECK(output.empty());
      CHECK(feed(machine, as_bytes({&c, 1})).empty());
      CHECK(!machine.handshake());
      output = machine.take_output();
    }
    // One packet: its length field counts everything behind it.
    REQUIRE(output.size() > 100);
    std::size_t length = 0;
    for (int i = 0; i < 4; ++i) length = length << 8 | std::to_integer<std::size_t>(output[i]);
    CHECK(length + 4 == output.size());
  }

  TEST_CASE("a call ends although more input comes than it takes in") {
    ssh_machine machine;
    std::atomic<bool> ended = false;
    std::size_t fed = 0;
    // Lines before the version line, of which any number may come.
    std::thread server([&] {
      std::string lines;
      while (lines.size() < 4096) lines += "hello!!\n";
      while (!ended && fed < 8 * limits::MiB) {
        fed += lines.size() - feed(machine, as_bytes(lines)).size();
      }
    });
    CHECK(!machine.handshake());
    ended = true;
    server.join();
    CHECK(fed <= limits::ssh_call_bytes_max + limits::ssh_receive_buffer_bytes);
    // More is there: it wants to be called again.
    if (fed > limits::ssh_call_bytes_max) CHECK(!machine.starved());
  }

  TEST_CASE("a server that makes libssh2 keep all it sends is refused at a bound") {
    // RFC 4253, 6: length, padding length, payload, padding. Of a kind that nobody waits for.
    constexpr std::size_t payload_bytes = 32000;
    constexpr std::size_t padding_bytes = 11;
    constexpr std::size_t length = 1 + payload_bytes + padding_bytes;
    static_assert((4 + length) % 8 == 0);
    byte_vector packet(4 + length);
    packet[2] = std::byte(length >> 8);
    packet[3] = std::byte(length & 0xff);
    packet[4] = std::byte(padding_bytes);
    packet[5] = std::byte(200);
    ssh_machine machine;
    static_cast<void>(feed(machine, as_bytes("SSH-2.0-x\r\n")));
    CHECK(!machine.handshake());
    std::size_t sent = 0;
    try {
      while (sent < 4 * limits::ssh_library_bytes_max) {
        auto rest = byte_view(packet);
        while (!rest.empty()) {
          rest = feed(machine, rest);
          static_cast<void>(machine.handshake());  // throws at the bound
        }
        sent += packet.size();
      }
      FAIL("all was kept");
    } catch (ssh_failure const& failed) {
      CHECK(failed.connection());
      CHECK(std::string_view(failed.what()).find("would hold more") != std::string_view::npos);
    }
    CHECK(sent < 2 * limits::ssh_library_bytes_max);
    CHECK(sent > limits::ssh_library_bytes_max / 2);
    CHECK_THROWS_AS(static_cast<void>(machine.handshake()), ssh_failure);
  }

  TEST_CASE("an ssh-agent that does not answer is given up, and the session goes on") {
    scratch_folder folder;
    auto const path = folder.path("agent");
    asio::io_context loop;
    // The kernel takes the connection; nobody ever reads from it.
    asio::local::stream_protocol::acceptor const silent(loop, {path});
    ssh_machine machine;
    CHECK(!machine.handshake());
    try {
      static_cast<void>(machine.agent_keys(path, {.reply_max = std::chrono::milliseconds(50)}));
      FAIL("it has no keys");
    } catch (ssh_failure const& failed) {
      CHECK(!failed.connection());
      CHECK(std::string_view(failed.what()) == "it does not answer");
    }
    CHECK(!machine.handshake());
  }

  TEST_CASE("an ssh-agent whose queue is full is given up, and the session goes on") {
    scratch_folder folder;
    auto const path = folder.path("agent");
    asio::io_context loop;
    asio::local::stream_protocol::acceptor full(loop, asio::local::stream_protocol());
    full.bind({path});
    full.listen(0);
    // Nobody accepts: the kernel takes what the queue holds.
    std::list<asio::local::stream_protocol::socket> queue;
    asio::error_code refused;
    while (!refused) {
      auto& one = queue.emplace_back(loop, asio::local::stream_protocol());
      one.native_non_blocking(true);
      int const done = ::connect(one.native_handle(), full.local_endpoint().data(),
                                 static_cast<socklen_t>(full.local_endpoint().size()));
      if (done != 0) refused.assign(errno, asio::system_category());
      REQUIRE(queue.size() < 10);
    }
    REQUIRE(refused == asio::error::try_again);
    ssh_machine machine;
    CHECK(!machine.handshake());
    try {
      static_cast<void>(machine.agent_keys(
          path, {.connect_max = std::chrono::milliseconds(50), .reply_max = {}}));
      FAIL("it has no keys");
    } catch (ssh_failure const& failed) {
      CHECK(!failed.connection());
      CHECK(std::string_view(failed.what()) == "it does not answer");
    }
    CHECK(!machine.handshake());
  }

  TEST_CASE("only strong ciphers and MACs are offered, the fastest first, and no torn names") {
    ssh_machine machine;
    machine.prefer_host_keys({"no-such-type", "ssh-ed25519"});
    static_cast<void>(feed(machine, as_bytes("SSH-2.0-x\r\n")));
    std::string sent;
    while (!machine.handshake()) {
      auto const output = machine.take_output();
      sent += as_text(output);
      if (output.empty() && machine.starved()) break;
    }
    // RFC 4253, 7.1: line, length (4), padding (1), kind (1), cookie (16), then lists of names.
    std::string_view rest = sent;
    rest.remove_prefix(rest.find('\n') + 1 + 4 + 1 + 1 + 16);
    std::vector<std::string> lists;
    while (lists.size() < 6) {
      std::size_t length = 0;
      for (int i = 0; i < 4; ++i) length = length << 8 | static_cast<unsigned char>(rest[i]);
      lists.emplace_back(rest.substr(4, length));
      rest.remove_prefix(4 + length);
    }
    CHECK(lists[1].starts_with("ssh-ed25519"));
    // Each name that libssh2 has, in the order of the full list.
    auto const check_part_of = [](std::string const& offered, std::string_view all) {
      CAPTURE(offered);
      CHECK(!offered.empty());
      std::size_t from = 0;
      for (std::size_t at = 0; at < offered.size();) {
        auto const end = std::min(offered.find(',', at), offered.size());
        auto const found = all.find("," + offered.substr(at, end - at) + ",", from);
        CHECK(found != std::string_view::npos);
        from = std::max(from, found);
        at = end + 1;
      }
    };
    for (int const which : {2, 3}) {
      check_part_of(lists[which],
                    ",chacha20-poly1305@openssh.com,aes128-ctr,aes256-ctr,aes192-ctr,"
                    "aes128-gcm@openssh.com,aes256-gcm@openssh.com,");
    }
    for (int const which : {4, 5}) {
      check_part_of(lists[which],
                    ",hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,"
                    "hmac-sha2-256,hmac-sha2-512,");
    }
  }

  TEST_CASE("garbage after the version line ends in a failure of the session, not of us") {
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
      ssh_machine machine;
      CHECK(feed(machine, as_bytes("SSH-2.0-x\r\n")).empty());
      auto const noise = noise_bytes(20'000, seed);
      byte_view rest = noise;
      bool failed = false;
      try {
        for (int round = 0; round < 1000 && !failed; ++round) {
          rest = feed(machine, rest);
          if (machine.handshake()) FAIL("garbage passed for a handshake");
          if (rest.empty() && machine.starved()) break;
        }
      } catch (ssh_failure const& e) {
        failed = true;
        CHECK(e.what() != std::string());
      }
      // A length that reads as small makes it wait for more: then the end of the input decides.
      if (!failed) {
        machine.end_input();
        CHECK(!machine.handshake());
      }
    }
  }

  TEST_CASE(
      "an end of input in the middle of a handshake leaves it waiting, for its driver to end") {
    ssh_machine machine;
    CHECK(feed(machine, as_bytes("SSH-2.0-x\r\n")).empty());
    CHECK(!machine.handshake());
    machine.end_input();
    CHECK(!machine.handshake());
    CHECK(machine.starved());
  }

  TEST_CASE("the types of host keys are those that known_hosts has") {
    auto const types = ssh_machine::host_key_types();
    CHECK(std::find(types.begin(), types.end(), "ssh-ed25519") != types.end());
    CHECK(std::find(types.begin(), types.end(), "ssh-dss") == types.end());
    bool const rsa = std::find(types.begin(), types.end(), "ssh-rsa") != types.end();
    CHECK(rsa == ssh_machine::signs_rsa_with_sha2());
  }
}

TEST_SUITE("byte_ring") {
  TEST_CASE("bytes pass between two threads whole and in order") {
    auto const bytes = noise_bytes(300'000, 5);
    byte_ring ring(4096);
    byte_vector got;
    std::thread reader([&] {
      byte_vector chunk(1000);
      while (got.size() < bytes.size()) {
        auto const n = ring.read(chunk);
        append_bytes(got, byte_view(chunk).first(n));
        if (n == 0) std::this_thread::yield();
      }
    });
    byte_view rest = bytes;
    while (!rest.empty()) {
      auto const room = ring.writable();
      auto const n = std::min({room.size(), rest.size(), std::size_t{700}});
      std::copy_n(rest.begin(), n, room.begin());
      ring.commit(n);
      rest = rest.subspan(n);
      if (n == 0) std::this_thread::yield();
    }
    reader.join();
    CHECK(got == bytes);
  }

  TEST_CASE("a full ring has no room, an empty one no bytes") {
    byte_ring ring(8);
    CHECK(ring.writable().size() == 8);
    ring.commit(8);
    CHECK(ring.writable().empty());
    byte_vector out(5);
    CHECK(ring.read(out) == 5);
    CHECK(ring.writable().size() == 5);
    CHECK(ring.read(out) == 3);
    CHECK(ring.read(out) == 0);
  }
}

TEST_SUITE("serial_queue") {
  TEST_CASE("functions run one at a time and in order on several threads") {
    int running = 0;  // unsynchronised on purpose: the queue is what keeps them apart
    int count = 0;
    bool in_order = true;
    {
      asio::io_context loop;  // the last function's post() may still be under way when it ends
      worker_pool pool(4);
      serial_queue queue(pool);
      auto work = asio::make_work_guard(loop);
      for (int i = 0; i < 10'000; ++i) {
        queue.post([&, i] {
          in_order = in_order && count == i && running++ == 0;
          ++count;
          --running;
        });
      }
      queue.post([&] { asio::post(loop, [&] { work.reset(); }); });
      loop.run();
    }
    CHECK(count == 10'000);
    CHECK(in_order);
  }

  TEST_CASE("what is left when the pool goes is destroyed, also where it owns the queue") {
    auto const token = std::make_shared<int>(1);
    {
      auto pool = std::make_unique<worker_pool>(1);
      auto const queue = std::make_shared<serial_queue>(*pool);
      std::mutex held;
      held.lock();
      queue->post([&held] { std::lock_guard const wait(held); });
      for (int i = 0; i < 3; ++i) queue->post([queue, token] {});
      // The pool is told to stop while its one thread waits.
      std::thread stopping([&] { pool.reset(); });
      held.unlock();
      stopping.join();
    }
    CHECK(token.use_count() == 1);
  }
}

}  // namespace diskdump::test
