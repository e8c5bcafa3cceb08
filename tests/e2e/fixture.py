"""What the scenarios share: a folder of their own, users, processes, and the base class Scenario.

Everything a scenario makes lies below one temporary folder, so that what it leaves on a "target" can
be found by that folder's name: in the command line, the environment or the open files of a process.
"""

import atexit
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import cases  # noqa: E402, taken from here by the scenarios

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.abspath(os.environ.get("DISKDUMP_TEST_BUILD", os.path.join(HERE, "../../build")))
DISKDUMP = os.path.join(BUILD, "src/cli/diskdump")
SANITIZED = bool(os.environ.get("DISKDUMP_TEST_SANITIZED"))
# A trimmed run has smaller images and leaves out what only repeats a scenario.
SERVER_LINES = 20  # of its log, after a failure
TRIMMED = bool(os.environ.get("DISKDUMP_TEST_TRIMMED"))
# Everything is asked for, however long it takes.
LONG = bool(os.environ.get("DISKDUMP_TEST_LONG"))
IS_ROOT = os.geteuid() == 0
# Tools of administrators are not in everybody's PATH.
os.environ["PATH"] = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
# The person's own agent, stores and configuration play no part.
for name in ("SSH_AUTH_SOCK", "DISKDUMP_BASE", "DISKDUMP_NO_URING", "XDG_CACHE_HOME"):
    os.environ.pop(name, None)

MS_RDONLY, MS_REMOUNT, MS_BIND, MS_NOSUID, MS_NODEV = 1, 32, 4096, 2, 4
MNT_DETACH = 2


def tool(name):
    path = shutil.which(name)
    if path is None:
        raise unittest.SkipTest(f"{name} is not installed")
    return path


def run(*command, check=True, **options):
    """A helper program; its output only shows where it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False, **options)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: "
                           f"{done.stdout.decode(errors='replace')}")
    return done


def wait_until(condition, seconds=15, interval=0.02):
    """Whether `condition()` came true in time; its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(interval)


# ---- Processes ----------------------------------------------------------------------------------

def read_proc(pid, name):
    try:
        with open(f"/proc/{pid}/{name}", "rb") as entry:
            return entry.read()
    except OSError:
        return b""


def parent_of(pid):
    stat = read_proc(pid, "stat").rpartition(b")")[2].split()
    return int(stat[1]) if len(stat) > 1 else 0


def is_alive(pid):
    stat = read_proc(pid, "stat").rpartition(b")")[2].split()
    return bool(stat) and stat[0] != b"Z"


def all_pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def descendants(pid):
    parents = {p: parent_of(p) for p in all_pids()}
    found, front = [], [pid]
    while front:
        front = [p for p, parent in parents.items() if parent in front]
        found += front
    return found


def processes_of(mark):
    """Live processes whose command line, environment or working folder has `mark` in it, but for
    this one and those that started it."""
    mark = mark.encode()
    own = {os.getpid()}
    pid = os.getpid()
    while pid > 1:
        pid = parent_of(pid)
        own.add(pid)
    found = []
    for pid in all_pids():
        if pid in own or not is_alive(pid):
            continue
        try:
            cwd = os.readlink(f"/proc/{pid}/cwd").encode()
        except OSError:
            cwd = b""
        if b"sshd: " in read_proc(pid, "cmdline") and b"[listener]" in read_proc(pid, "cmdline"):
            continue  # the scenario's own server, which its clean-up ends
        if mark in read_proc(pid, "cmdline") or mark in read_proc(pid, "environ") or mark in cwd:
            found.append(pid)
    return found


def describe_process(pid):
    return f"{pid}: {read_proc(pid, 'cmdline').replace(bytes(1), b' ').decode(errors='replace')}"


# ---- Mounts and loop devices (root only) ----------------------------------------------------------

def mount(source, target, kind, flags=0, data=""):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), target.encode(), kind.encode() if kind else None, flags,
                  data.encode() if data else None) != 0:
        number = ctypes.get_errno()
        raise unittest.SkipTest(f"mounting a {kind or 'bind'} is not allowed here: "
                                f"{os.strerror(number)}")


def unmount(target):
    ctypes.CDLL(None, use_errno=True).umount2(target.encode(), MNT_DETACH)


def loop_device(case, image, read_only=True):
    """A loop device over `image` until the end of the case."""
    if not IS_ROOT:
        raise unittest.SkipTest("loop devices take root")
    options = ["--read-only"] if read_only else []
    done = run(tool("losetup"), "--find", "--show", *options, image, check=False)
    if done.returncode != 0:
        raise unittest.SkipTest(f"no loop device: {done.stdout.decode().strip()}")
    device = done.stdout.decode().strip()
    case.addCleanup(run, tool("losetup"), "--detach", device, check=False)
    return device


# ---- Users (root only) ------------------------------------------------------------------------------

class TestUser:
    """A user of this machine for the length of a scenario; its home lies in the scenario's folder."""

    count = 0

    def __init__(self, folder, sudo=None):
        """`sudo`: None, "nopasswd", "password" (one that nobody knows), or "known" (self.password)."""
        TestUser.count += 1
        self.name = f"ddt{os.getpid()}x{TestUser.count}"
        self.home = os.path.join(folder, "home-" + self.name)
        self.sudoers = None
        self.password = None
        # `*` and not `!`: sshd refuses locked accounts even with a key.
        command = [tool("useradd"), "--create-home", "--home-dir", self.home, "--shell", "/bin/bash",
                   "--password", "*", self.name]
        if not wait_until(lambda: run(*command, check=False).returncode == 0, 10, 0.2):
            raise unittest.SkipTest("no user can be added here")
        atexit.register(self.remove)
        self.uid = pwd.getpwnam(self.name).pw_uid
        os.chmod(self.home, 0o755)
        if sudo == "known":
            self.password = "Pw-" + os.urandom(8).hex() + " $x'\"\\"
            run(tool("chpasswd"), input=f"{self.name}:{self.password}".encode())
        if sudo:
            self.sudoers = f"/etc/sudoers.d/{self.name}"
            tag = "NOPASSWD: " if sudo == "nopasswd" else ""
            with open(os.open(self.sudoers, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o440), "w") as out:
                out.write(f"{self.name} ALL=(ALL) {tag}ALL\n")

    def remove(self):
        if self.sudoers and os.path.exists(self.sudoers):
            os.unlink(self.sudoers)
        self.sudoers = None
        for pid in all_pids():
            try:
                if os.stat(f"/proc/{pid}").st_uid == self.uid:
                    os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        wait_until(lambda: run(tool("userdel"), "--force", self.name,
                               check=False).returncode in (0, 6), 10, 0.2)
        atexit.unregister(self.remove)


# ---- Scenarios ----------------------------------------------------------------------------------------

class Scenario(unittest.TestCase):
    """A case with a folder of its own (self.folder), a store in it (self.store), and the program."""

    def setUp(self):
        if not os.path.exists(DISKDUMP):
            self.fail(f"{DISKDUMP} is not built")
        self.folder = tempfile.mkdtemp(prefix="ddt-")
        # Other users of a scenario go through it.
        os.chmod(self.folder, 0o755)
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.servers = []  # each Sshd of the case
        self.addCleanup(self.remark_what_servers_said)
        self.store = os.path.join(self.folder, "store")
        os.mkdir(self.store)

    def remark_what_servers_said(self):
        result = self._outcome.result
        if not any(getattr(case, "test_case", case) is self
                   for case, _ in result.failures + result.errors):
            return
        for server in self.servers:
            said = "\n  ".join(server.log_text().splitlines()[-SERVER_LINES:])
            cases.remarks.append(f"{self.id()}: sshd on port {server.port} said last:\n  {said}")

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def user(self, sudo=None):
        if not IS_ROOT:
            self.skipTest("making users takes root")
        if sudo:
            tool("sudo")
        made = TestUser(self.folder, sudo)
        self.addCleanup(made.remove)
        return made

    def assert_same_content(self, one, other):
        """Equal bytes and length. Compares in the kernel's order, block by block."""
        self.assertEqual(os.path.getsize(one), os.path.getsize(other), "the lengths differ")
        with open(one, "rb") as a, open(other, "rb") as b:
            offset = 0
            while True:
                x, y = a.read(1 << 20), b.read(1 << 20)
                if x != y:
                    at = next((i for i in range(min(len(x), len(y))) if x[i] != y[i]), -1)
                    self.fail(f"the contents differ at {offset + at}")
                if not x:
                    return
                offset += len(x)

    def assert_nothing_left(self):
        """No process of this scenario, and no unfinished file in the store."""
        def left():
            servers = {s.process.pid for s in self.servers if s.process}
            return [p for p in processes_of(self.folder) if p not in servers]

        wait_until(lambda: not left())
        self.assertEqual([describe_process(p) for p in left()], [], "processes are left")
        self.assert_store_is_tidy()

    def assert_store_is_tidy(self):
        known = (".lz4", ".manifest", "config.json", "blocks.db", "blocks.db-wal", "blocks.db-shm",
                 "open.lock", ".pack", "packs.db", "packs.db-wal", "packs.db-shm")
        leftovers = []
        for where, folders, names in os.walk(self.store):
            # What an interrupted dump leaves for --resume is meant to stay.
            for kept in {"leases", "interrupted"} & set(folders):
                folders.remove(kept)
            leftovers += [os.path.join(where, n) for n in names if not n.endswith(known)]
        self.assertEqual(leftovers, [], "unfinished files are left in the store")

    def manifests(self):
        return sorted(os.path.relpath(os.path.join(where, name), self.store)
                      for where, _, names in os.walk(self.store) for name in names
                      if name.endswith(".manifest"))
