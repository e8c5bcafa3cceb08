#include "store/lease.hpp"

#include <sys/wait.h>
#include <csignal>

#include "store_support.hpp"

namespace diskdump {

namespace fs = std::filesystem;

TEST_SUITE("lease") {
  TEST_CASE("a lease is held while it lives, and its file goes with it") {
    test_folder const folder;
    (void)open_test_store(folder.path());
    CHECK(held_leases(folder.path()).empty());
    {
      dump_lease const first(folder.path(), "server01:/dev/sda");
      dump_lease const second(folder.path(), "server02:/dev/sda");
      CHECK(first.id() != second.id());
      auto const held = held_leases(folder.path());
      CHECK(held.size() == 2);
      CHECK(std::find(held.begin(), held.end(), first.id()) != held.end());
      CHECK(read_text(folder / (".blockstore/leases/" + first.id() + ".lease"))
                .starts_with("server01:/dev/sda\n"));
    }
    CHECK(held_leases(folder.path()).empty());
    CHECK(fs::is_empty(folder / ".blockstore/leases"));
  }

  TEST_CASE("the kernel releases the lease of a process that is killed, and its file is removed") {
    test_folder const folder;
    (void)open_test_store(folder.path());
    int ready[2];
    REQUIRE(::pipe(ready) == 0);
    auto const child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      dump_lease const lease(folder.path(), "child");
      (void)!::write(ready[1], "x", 1);
      for (;;) ::pause();
    }
    char byte = 0;
    REQUIRE(::read(ready[0], &byte, 1) == 1);
    CHECK(held_leases(folder.path()).size() == 1);
    REQUIRE(::kill(child, SIGKILL) == 0);
    REQUIRE(::waitpid(child, nullptr, 0) == child);
    CHECK_FALSE(fs::is_empty(folder / ".blockstore/leases"));
    CHECK(held_leases(folder.path()).empty());
    CHECK(fs::is_empty(folder / ".blockstore/leases"));
    ::close(ready[0]);
    ::close(ready[1]);
  }

  TEST_CASE("without a store there is no lease") {
    test_folder const folder;
    CHECK(thrown_by([&] { dump_lease const lease(folder.path(), "x"); }).code() ==
          store_errc::cannot_write);
  }
}

}  // namespace diskdump
