#!/usr/bin/env python3
"""Tests of which compilers ./bootstrap and meson.build take: g++ before 13 miscompiles coroutines, so
none of them may ever build diskdump."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import cases

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
# What the script itself needs, beside the tools that it looks for.
ORDINARY = ("sh", "cat", "cut", "dirname", "env", "getconf", "grep", "id", "mkdir", "mktemp", "rm",
            "sed", "tail")

# A compiler of a version of its own: what it predefines, and what it says of itself.
COMPILER = """#!/bin/sh
case " $* " in
  *" -E "*) exec sed -e 's/__GNUC__/{gnu}/' -e 's/__clang_major__/{clang}/' ;;
  *" -dumpversion "*) echo {version} ;;
esac
"""
# Says what it was asked for, and that it is not to be.
RECORDER = """#!/bin/sh
echo "$(basename "$0") $*" >>"{log}"
exit 1
"""
# A working compiler that passes for g++ 12, as meson asks for it.
DISGUISED = """#!/bin/sh
case " $* " in
  *" --version "*)
    echo "g++ (made up) 12.2.0"
    echo "Copyright (C) 2022 Free Software Foundation, Inc."
    exit 0 ;;
  *" -dM "*)
    printf '#define __GNUC__ 12\\n#define __GNUC_MINOR__ 2\\n#define __GNUC_PATCHLEVEL__ 0\\n'
    exit 0 ;;
esac
exec {real} "$@"
"""


def major_of(compiler):
    """Of a g++; 0 where there is none, or it is clang under that name."""
    path = shutil.which(compiler)
    if path is None:
        return 0
    done = subprocess.run([path, "-x", "c++", "-E", "-P", "-"], input="__clang_major__ __GNUC__\n",
                          text=True, stdout=subprocess.PIPE, check=True)
    clang, gnu = done.stdout.split()
    return int(gnu) if clang == "__clang_major__" else 0


OLD_GPP = [name for name in ("g++", "g++-12", "g++-11") if 0 < major_of(name) < 13]


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def script(self, path, text):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(path, stat.S_IRWXU)
        return path


class Bootstrap(Folder):
    """A copy of the script, among tools that only note what they are asked for."""

    def setUp(self):
        super().setUp()
        os.mkdir(self.path("bin"))
        for name in ORDINARY:
            os.symlink(shutil.which(name), self.path("bin", name))
        for name in ("apt-get", "meson", "ninja", "sudo"):
            self.tool(name, RECORDER.format(log=self.path("log")))
        self.tool("basename", f'#!/bin/sh\nexec {shutil.which("basename")} "$@"\n')
        self.tool("dpkg-query", "#!/bin/sh\nprintf installed\n")
        for name in ("pkg-config", "python3", "mkfs.ext4", "sshd", "ssh", "ssh-keygen"):
            self.tool(name, "#!/bin/sh\n")
        shutil.copy(os.path.join(ROOT, "bootstrap"), self.path("bootstrap"))
        # A build folder of before, which must not go.
        self.script(self.path("build", "build.ninja"), "")

    def tool(self, name, text):
        return self.script(self.path("bin", name), text)

    def compiler(self, name, gnu="__GNUC__", clang="__clang_major__"):
        version = gnu if clang == "__clang_major__" else clang
        return self.tool(name, COMPILER.format(gnu=gnu, clang=clang, version=version))

    def bootstrap(self, *arguments, cxx=None):
        """Its standard error, and what it asked the tools for."""
        env = {"PATH": self.path("bin"), "HOME": self.folder, **({"CXX": cxx} if cxx else {})}
        done = subprocess.run([self.path("bootstrap"), *arguments], env=env, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        try:
            with open(self.path("log"), encoding="utf-8") as log:
                asked = log.read()
            os.unlink(self.path("log"))
        except FileNotFoundError:
            asked = ""
        return done.stderr, asked

    def assert_refused(self, words, *arguments, cxx):
        told, asked = self.bootstrap(*arguments, cxx=cxx)
        self.assertRegex(told, words)
        self.assertEqual(asked, "", "something was installed or configured before it was refused")
        self.assertTrue(os.path.exists(self.path("build", "build.ninja")), "the old build is gone")

    def assert_taken(self, cxx):
        _, asked = self.bootstrap(cxx=cxx)
        self.assertIn("meson setup build ", asked)
        self.script(self.path("build", "build.ninja"), "")

    def test_an_old_compiler_of_cxx_is_refused_before_anything_is_done(self):
        old = self.compiler("old-g++", gnu="12")
        for verb in ([], ["demo"], ["test"]):
            with self.subTest(verb=verb):
                self.assert_refused(r"old-g\+\+ is g\+\+ 12, .*coroutines(.|\n)*clang 17.*g\+\+ 13",
                                    *verb, cxx=old)
        self.assert_refused(r"g\+\+ 9, ", cxx=self.compiler("older", gnu="9"))
        self.assert_refused("clang 16, .*too old", cxx=self.compiler("clang", gnu="4", clang="16"))
        self.assert_refused("works? here: .*/absent", cxx=self.path("absent"))

    def test_the_old_compilers_of_this_machine_are_refused(self):
        if not OLD_GPP:
            self.skipTest("no g++ before 13 is installed")
        for name in OLD_GPP:
            with self.subTest(compiler=name):
                self.assert_refused(r"is g\+\+ \d+, .*coroutines", cxx=shutil.which(name))

    def test_a_compiler_of_cxx_that_will_do_is_taken(self):
        self.assert_taken(self.compiler("new-g++", gnu="13"))
        self.assert_taken(self.compiler("newer-g++", gnu="15"))
        self.assert_taken(self.compiler("new-clang", gnu="4", clang="17"))
        self.assert_taken("env " + self.compiler("another"))

    def test_an_old_compiler_is_not_what_is_found(self):
        self.compiler("g++", gnu="12")
        self.compiler("clang++", gnu="4", clang="14")
        told, asked = self.bootstrap()
        self.assertNotIn("meson", asked)
        # Where it can install one it wanted to, elsewhere it said what is needed.
        self.assertRegex(told + asked, r"clang-19 is installed|a C\+\+20 compiler: clang 17 or later")
        self.compiler("g++", gnu="13")
        self.assertIn("meson setup build ", self.bootstrap()[1])


class Meson(Folder):
    """meson.build, for those who do not use the script."""

    def setup(self, cxx):
        done = subprocess.run([shutil.which("meson"), "setup", self.path("build"), ROOT],
                              env={**os.environ, "CXX": cxx}, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        shutil.rmtree(self.path("build"))
        return done.stdout

    def test_an_old_compiler_is_refused(self):
        real = next((path for path in map(shutil.which, ("g++", "clang++-19", "clang++", "c++"))
                     if path), None)
        if shutil.which("meson") is None or real is None:
            self.skipTest("meson, or any C++ compiler, is not in the path")
        disguised = self.script(self.path("disguised"), DISGUISED.format(real=real))
        for compiler in [disguised, *filter(None, map(shutil.which, OLD_GPP))]:
            with self.subTest(compiler=compiler):
                told = self.setup(compiler)
                self.assertRegex(told, r"ERROR: .*g\+\+ 1[0-2][.\d]* miscompiles coroutines")
                # Before it has looked for a library.
                self.assertNotRegex(told, "dependency .* found")


if __name__ == "__main__":
    cases.main()
