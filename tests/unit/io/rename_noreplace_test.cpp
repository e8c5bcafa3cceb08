#include "io/rename_noreplace.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <bit>
#include <cerrno>
#include <cstddef>
#include <fstream>
#include <iterator>
#include <thread>

#include "io/file_system.hpp"
#include "scratch.hpp"

namespace diskdump {

namespace {

void write_text(std::string const& path, std::string_view text) { std::ofstream(path) << text; }

std::string text_of(std::string const& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Makes this thread's renames with flags fail as on NFS, and its links as on exFAT if that is
// asked for.
bool refuse_renames(bool links_too) {
  constexpr auto flags_at = static_cast<std::uint32_t>(offsetof(seccomp_data, args) + 4 * 8);
  static_assert(std::endian::native == std::endian::little);
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_linkat, 3, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat2, 0, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, flags_at),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 2, 1),
      BPF_STMT(BPF_RET | BPF_K, links_too ? SECCOMP_RET_ERRNO | EPERM : SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog const filter{.len = static_cast<unsigned short>(std::size(program)),
                          .filter = program};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

enum class lacks : std::uint8_t { nothing, flag, flag_and_links };

// Runs `action` on a thread where renames lack so much; false where this kernel cannot do that.
template <class Action>
bool where_renames_lack(lacks what, Action&& action) {
  bool possible = true;
  std::thread([&] {
    if (what != lacks::nothing) possible = refuse_renames(what == lacks::flag_and_links);
    if (possible) action();
  }).join();
  if (!possible) MESSAGE("no seccomp here");
  return possible;
}

}  // namespace

TEST_SUITE("rename_noreplace") {
  TEST_CASE("it renames and never replaces, whatever the file system lacks") {
    for (auto const what : {lacks::nothing, lacks::flag, lacks::flag_and_links}) {
      CAPTURE(static_cast<int>(what));
      scratch_directory const dir;
      write_text(dir / "a", "one");
      write_text(dir / "b", "two");
      auto const rename = [&](std::string const& from, std::string const& to) {
        return rename_over_placeholder_at(AT_FDCWD, (dir / from).c_str(), (dir / to).c_str());
      };
      int taken = 0, free = -1, absent = 0;
      if (!where_renames_lack(what, [&] {
            taken = rename("a", "b");
            free = rename("a", "c");
            absent = rename("absent", "d");
          })) {
        continue;
      }
      CHECK(taken == EEXIST);
      CHECK(text_of(dir / "b") == "two");
      CHECK(free == 0);
      CHECK(text_of(dir / "c") == "one");
      CHECK_FALSE(std::filesystem::exists(dir / "a"));
      CHECK(absent != 0);
      CHECK_FALSE(std::filesystem::exists(dir / "d"));
    }
  }

  TEST_CASE("a store's name never shows an empty file, so without links there is none") {
    scratch_directory const dir;
    write_text(dir / "a", "one");
    int failed = 0;
    bool renamed = false;
    if (!where_renames_lack(lacks::flag_and_links, [&] {
          failed = rename_noreplace_at(AT_FDCWD, (dir / "a").c_str(), (dir / "b").c_str());
        })) {
      return;
    }
    CHECK(failed == EPERM);
    CHECK_FALSE(std::filesystem::exists(dir / "b"));
    CHECK(where_renames_lack(lacks::flag, [&] {
      renamed = make_posix_file_system(dir.path())->rename_noreplace("a", "b");
    }));
    CHECK(renamed);
    CHECK(text_of(dir / "b") == "one");
  }
}

}  // namespace diskdump
