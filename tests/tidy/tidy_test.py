#!/usr/bin/env python3
"""Tests of the checks themselves: each finds a violation planted in a small tree, and lets pass what
is right."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import cases
import layering
import protection_list
import tidy


class Planted(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = self.folder.name

    def plant(self, path, text):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as out:
            out.write(text)


class Layering(Planted):
    def finds(self, path, text, words):
        self.plant(path, text)
        wrong = layering.check(self.root)
        self.assertEqual(len(wrong), 1, wrong)
        self.assertIn(words, wrong[0])

    def passes(self, path, text):
        self.plant(path, text)
        self.assertEqual(layering.check(self.root), [])

    def test_an_include_upwards_is_found_with_its_line(self):
        self.finds("src/base/a.hpp", "\n#include \"io/disk.hpp\"\n", "src/base/a.hpp:2: base may not")

    def test_peers_do_not_include_each_other(self):
        self.finds("src/store/a.cpp", '#include "transport/stream.hpp"\n', "store may not")

    def test_wire_does_no_io(self):
        self.finds("src/wire/a.cpp", '#include "async/task.hpp"\n', "wire may not")

    def test_the_agent_takes_no_ssh_and_no_store(self):
        self.finds("agent/serve.cpp", '#include "transport/stream.hpp"\n', "agent may not")

    def test_the_embedded_agent_is_no_part_of_the_agent(self):
        self.passes("agent/embedded.hpp", '#include "transport/deploy.hpp"\n')
        self.passes("src/cli/main.cpp", '#include "agent/embedded.hpp"\n')

    def test_cli_takes_nothing_else_of_the_agent(self):
        self.finds("src/cli/main.cpp", '#include "agent/serve.hpp"\n', "embedded")

    def test_downward_and_own_headers_pass(self):
        self.passes("src/pipeline/dump.cpp",
                    '#include "pipeline/dump.hpp"\n\n#include <vector>\n\n'
                    '#include "store/manifest.hpp"\n#include "wire/frame.hpp"\n')

    def test_a_third_party_header_stays_in_its_folder(self):
        self.finds("src/pipeline/a.cpp", "#include <asio.hpp>\n", "belongs to src/async")
        self.plant("src/pipeline/a.cpp", "")
        self.finds("src/store/b.cpp", "#include <libssh2_sftp.h>\n", "belongs to src/transport")

    def test_a_third_party_header_in_too_many_files_is_found(self):
        for name in "abc":
            self.plant(f"src/store/{name}.cpp", "#include <sqlite3.h>\n")
        wrong = layering.check(self.root)
        self.assertEqual(len(wrong), 1)
        self.assertIn("3 files of src/store", wrong[0])

    def test_an_unknown_library_is_found(self):
        self.finds("src/base/a.cpp", "#include <boost/asio.hpp>\n", "which folder owns it")

    def test_raw_asio_is_found_outside_its_wrapper(self):
        self.finds("src/pipeline/a.cpp", "asio::co_spawn(x, f(), token);\n", "co_spawn")
        self.plant("src/pipeline/a.cpp", "using namespace asio::experimental::awaitable_operators;\n")
        self.assertEqual(len(layering.check(self.root)), 1)
        self.plant("src/pipeline/a.cpp", "asio::experimental::channel<void()> c;\n")
        self.assertEqual(len(layering.check(self.root)), 1)
        self.plant("src/pipeline/a.cpp", "f(asio::detached);\n")
        self.assertEqual(len(layering.check(self.root)), 1)
        self.plant("src/pipeline/a.cpp", "// no `detached` here\n/* asio::detached */\n")
        self.assertEqual(layering.check(self.root), [])

    def test_an_include_in_a_comment_is_none(self):
        self.passes("src/base/a.cpp", '// #include "cli/main.hpp"\n/*\n#include "cli/b.hpp"\n*/\n')


class Tidy(Planted):
    def finds(self, check, words):
        wrong = tidy.CHECKS[check](self.root)
        self.assertEqual(len(wrong), 1, wrong)
        self.assertIn(words, wrong[0])

    def passes(self, check):
        self.assertEqual(tidy.CHECKS[check](self.root), [])

    def test_a_long_file_needs_a_reason(self):
        self.plant("src/base/a.cpp", "\n" * 501)
        self.finds("length", "501 lines")
        self.plant("src/base/a.cpp", "// Long because: a table.\n" + "\n" * 501)
        self.passes("length")

    def test_notes_of_unfinished_work_are_found(self):
        self.plant("agent/a.cpp", "// TO" "DO: more\n")
        self.finds("leftovers", "agent/a.cpp:1")

    def test_trailing_blanks_and_conflict_markers_are_found(self):
        self.plant("agent/a.cpp", "int a; \n")
        self.finds("leftovers", "trailing")
        self.plant("agent/a.cpp", "<<<<<<< ours\n")
        self.finds("leftovers", "conflict")

    def test_a_module_without_readme_is_found(self):
        self.plant("src/base/a.cpp", "")
        self.plant("src/wire/PROTOCOL.md", "")
        self.plant("src/wire/README.md", "")
        self.plant("src/store/FORMAT.md", "")
        self.plant("src/store/README.md", "")
        self.finds("readmes", "src/base/README.md")

    def test_a_file_that_its_readme_does_not_name_is_found(self):
        self.plant("src/wire/PROTOCOL.md", "")
        self.plant("src/store/FORMAT.md", "")
        self.plant("src/store/README.md", "")
        self.plant("src/wire/README.md", "`frame`, `peer_text.*`, `cmd_<verb>.cpp`; not frames\n"
                                         "```\n`frames`\n```\n")
        for name in ("frame.hpp", "frame.cpp", "peer_text.cpp", "cmd_gc.cpp", "meson.build"):
            self.plant("src/wire/" + name, "")
        self.passes("readmes")
        self.plant("src/wire/frames.hpp", "")
        self.plant("src/wire/frames.cpp", "")
        self.finds("readmes", "src/wire/README.md does not name frames.hpp")

    def test_a_dead_link_is_found(self):
        self.plant("README.md", "[here](src/base/a.cpp) [there](src/no.cpp) [web](https://x.org/)\n")
        self.plant("src/base/a.cpp", "")
        self.finds("links", "src/no.cpp")

    def test_a_dead_anchor_is_found(self):
        self.plant("README.md", "# One thing\n[good](#one-thing) [bad](#two)\n")
        self.finds("links", "#two")

    def test_a_named_file_that_is_not_there_is_found(self):
        self.plant("README.md", "Start at `src/pipeline/dump.cpp`.\n")
        self.finds("links", "does not exist")

    def test_a_bare_size_is_found(self):
        self.plant("src/io/a.cpp", "std::array<char, 64 * 1024> buffer;\n")
        self.finds("limits", "64 * 1024")
        self.plant("src/io/a.cpp", "// 64 * 1024\nauto s = \"64 * 1024\";\n"
                                   "constexpr int chunk_bytes = 64 * 1024;\n")
        self.passes("limits")

    def test_a_bare_duration_is_found(self):
        self.plant("src/io/a.cpp", "co_await timers.sleep(std::chrono::seconds(5));\n")
        self.finds("limits", "seconds(5")

    def test_two_types_of_one_name_are_found(self):
        self.plant("src/wire/a.hpp", "class writer {\n};\ntemplate <class T>\nstruct result {};\n"
                                     "template <>\nstruct result<void> {};\n")
        self.plant("src/cli/b.hpp", "class writer;\n// class writer {\n")
        self.passes("twins")
        self.plant("src/cli/b.hpp", "class writer final : public base<int> {\n};\n")
        self.finds("twins", "has a type writer")

    def test_a_vector_that_keeps_its_memory_is_found(self):
        self.plant("src/wire/a.hpp", "struct block {\n  byte_vector payload;\n  int used = 0;\n};\n")
        self.plant("src/store/b.cpp", "void f(block& b) {\n  byte_vector v = {};\n  b.used = {};\n"
                                      "  free_memory(b.payload);\n}\n")
        self.passes("vectors")
        self.plant("src/store/b.cpp", "void f(block& b) {\n  b.payload = {};\n}\n")
        self.finds("vectors", "src/store/b.cpp:2: payload keeps")
        self.plant("src/store/b.cpp", "std::vector<int> all_;\nvoid f() { all_ = {}; }\n")
        self.finds("vectors", "src/store/b.cpp:2: all_ keeps")

    def test_a_protection_that_is_not_where_it_was_is_found(self):
        entry = protection_list.Protection("a", "what it is for", "src/store/a.cpp", "sync();", "",
                                           protection_list.Unit("store", "a", "a case"))
        self.plant("tests/unit/store/a_test.cpp", 'TEST_SUITE("a") {\n  TEST_CASE("a case") {\n')
        self.plant("src/store/a.cpp", "sync();\n")
        stale = protection_list.stale
        self.assertEqual(stale(self.root, [entry]), [])
        self.assertIn("two of this name", stale(self.root, [entry, entry])[0])
        self.plant("src/store/a.cpp", "sync();\nsync();\n")
        self.assertIn("stands 2 times", stale(self.root, [entry])[0])
        self.plant("src/store/a.cpp", "")
        self.assertIn("stands 0 times", stale(self.root, [entry])[0])
        self.plant("src/store/a.cpp", "sync();\n")
        self.plant("tests/unit/store/a_test.cpp", 'TEST_SUITE("b") {\n  TEST_CASE("a case") {\n')
        self.assertIn("there is no", stale(self.root, [entry])[0])

    def test_python_that_does_not_compile_is_found(self):
        self.plant("tests/a.py", "def f(:\n")
        self.finds("python", "tests/a.py:1")

    def test_format_differences_are_found(self):
        self.plant("src/base/a.cpp", "int   a;\n")
        try:
            self.finds("format", "clang-format-19 -i src/base/a.cpp")
        except SystemExit:
            self.skipTest("clang-format-19 is not installed")

    def test_each_rule_of_clang_tidy_is_at_work(self):
        if shutil.which("clang-tidy-19") is None:
            self.skipTest("clang-tidy-19 is not installed")
        here = os.path.dirname(os.path.abspath(tidy.__file__))
        shutil.copy(os.path.join(here, "../../.clang-tidy"), self.root)
        self.plant("src/base/a.cpp", PLANTED_FOR_CLANG_TIDY)
        self.plant("build/compile_commands.json", json.dumps([{
            "directory": os.path.join(self.root, "build"), "file": "../src/base/a.cpp",
            "command": "ccache clang++-19 -std=c++20 -o a.o -c ../src/base/a.cpp"}]))
        done = subprocess.run([sys.executable, os.path.join(here, "clang_tidy.py"),
                               os.path.join(self.root, "build"), self.root], check=False, text=True,
                              stdout=subprocess.PIPE)
        self.assertEqual(done.returncode, 1, done.stdout)
        with open(os.path.join(self.root, ".clang-tidy"), encoding="utf-8") as config:
            rules = re.findall(r"^  ([a-z]+-[a-z-]+),?$", config.read(), re.M)
        self.assertEqual(len(rules), 5)
        for rule in rules:
            self.assertIn(rule, done.stdout)


PLANTED_FOR_CLANG_TIDY = """
#include <coroutine>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

struct task {
  struct promise_type {
    task get_return_object() { return {}; }
    std::suspend_never initial_suspend() { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() {}
  };
};
std::mutex mutex;

int use_after_move(std::unique_ptr<int> p) {
  auto q = std::move(p);
  return *p + *q;
}
std::string text();
std::string_view dangling_handle() {
  std::string_view view = text();
  return view;
}
void unused_return_value(std::vector<int>& v, std::unique_ptr<int>& p) {
  p.release();
  v.empty();
}
void capturing_lambda_coroutine(int x) {
  [x]() -> task {
    (void)x;
    co_return;
  }();
}
task hostile_raii() {
  std::lock_guard<std::mutex> const hold(mutex);
  co_await std::suspend_always();
}
"""


if __name__ == "__main__":
    cases.main()
