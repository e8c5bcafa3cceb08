"""The programs that bench/peers.py compares. Each one brings an image of the "machine" behind sshd into a
store, or out of it, and knows where its store lies.

A phase is a method that returns what it took: {"seconds", "near_cpu_s", "far_cpu_s"}. Near is the command with
its children, far what sshd started for it with the sessions themselves. A phase that a program does not have is
None. What borg, restic and casync push goes over the same loopback sshd as what diskdump pulls.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time

import dump
from fixture import DISKDUMP, read_proc

TIMEOUT_S = 900
BLOCK_BYTES = 131072
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A program ended with another status than 0, or too late."""


def far_cpu_s(sshd):
    """Of all sessions that have ended: sshd waits for each, a session for its command."""
    stat = read_proc(sshd.process.pid, "stat").rpartition(b")")[2].split()
    return (int(stat[13]) + int(stat[14])) / TICKS_PER_S


def far_cpu_after(sshd, before):
    """The same once no session is left; the last one ends a little after its client."""
    end = time.monotonic() + 5
    while children(sshd.process.pid) and time.monotonic() < end:
        time.sleep(0.01)
    return far_cpu_s(sshd) - before


def children(pid):
    return [int(child) for child in read_proc(pid, f"task/{pid}/children").split()]


class AgentWatch(threading.Thread):
    """The processor time of the agents that sshd started while it ran: what each had when last seen."""

    def __init__(self, sshd):
        super().__init__(daemon=True)
        self.root = sshd.process.pid
        self.cpu_s = {}
        self.stopped = threading.Event()
        self.start()

    def run(self):
        while not self.stopped.wait(0.02):
            front = [self.root]
            while front:
                pid = front.pop()
                front += children(pid)
                if read_proc(pid, "cmdline").split(b"\0")[1:2] == [b"serve"]:
                    stat = read_proc(pid, "stat").rpartition(b")")[2].split()
                    if stat:
                        self.cpu_s[pid] = (int(stat[11]) + int(stat[12])) / TICKS_PER_S

    def stop(self):
        self.stopped.set()
        self.join()
        return sum(self.cpu_s.values())


def drop_caches():
    """Writes back what is dirty, then forgets what is clean, where root can; whether it could."""
    os.sync()
    try:
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as caches:
            caches.write("3")
        return True
    except OSError:
        return False


def timed(sshd, command, cwd=None, env=None, stdout=subprocess.DEVNULL):
    """One command from start to end, with the caches dropped before it."""
    drop_caches()
    far = far_cpu_s(sshd)
    begin = time.monotonic()
    process = subprocess.Popen(command, cwd=cwd, env={**os.environ, **(env or {})}, stdout=stdout,
                               stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    timer = threading.Timer(TIMEOUT_S, os.killpg, (process.pid, signal.SIGKILL))
    timer.start()
    try:
        said = process.stderr.read()[-4000:]
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begin
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGKILL)  # it has a session of its own
        raise
    finally:
        timer.cancel()
        process.stderr.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise Failed(f"{shlex.join(command)} ended with {process.returncode}: "
                     f"{said.decode(errors='replace').strip()}")
    return {"seconds": seconds, "near_cpu_s": usage.ru_utime + usage.ru_stime,
            "far_cpu_s": far_cpu_after(sshd, far)}


def size_of(folder):
    """Bytes on disk and files below a folder, or of one file."""
    if os.path.isfile(folder):
        return os.stat(folder).st_blocks * 512, 1
    used = files = 0
    for where, _, names in os.walk(folder):
        for name in names:
            used += os.lstat(os.path.join(where, name)).st_blocks * 512
            files += 1
    return used, files


def same(image, restored):
    """Compares byte for byte, then removes the copy."""
    equal = subprocess.run(["cmp", image, restored], check=False).returncode == 0
    os.unlink(restored)
    if not equal:
        raise Failed(f"{restored} is not what was stored")


class Peer:
    """A program with a store at `self.store`, which does not exist before prepare()."""

    name = ""
    needs = ()  # program → package of Debian
    rounds_max = None  # None: in every round

    def __init__(self, work, place):
        self.sshd, self.image = work.sshd, work.image
        self.folder = os.path.join(work.folders[place], self.name.replace(" ", "-"))
        self.store = os.path.join(self.folder, "store")
        self.out = work.case.path("restored")  # always on tmpfs

    def begin(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        self.prepare()

    def end(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *command, **options):
        return timed(self.sshd, list(command), env=self.environment(), **options)

    def environment(self):
        return {}

    def prepare(self):
        """Makes an empty store."""

    def first(self):
        raise NotImplementedError

    def again(self):
        return None

    def restore(self):
        return None

    def verify(self):
        return None

    # Where the two above go over ssh: the same beside the store.
    def restore_local(self):
        return None

    def verify_local(self):
        return None

    @classmethod
    def missing(cls):
        return [package for program, package in cls.needs if shutil.which(program) is None]

    @classmethod
    def version(cls):
        if not cls.needs:
            return ""
        done = subprocess.run([cls.needs[0][0], "version" if cls is Restic else "--version"],
                              stdout=subprocess.PIPE, text=True, check=False)
        return done.stdout.partition("\n")[0].strip("* ")


class Borg(Peer):
    name = "borg"
    needs = (("borg", "borgbackup"),)

    def environment(self):
        return {"BORG_RSH": f"ssh -F {self.sshd.client_config}", "BORG_BASE_DIR": self.folder,
                "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
                "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"}

    def remote(self, archive=""):
        return f"ssh://{self.sshd.host}{self.store}" + (f"::{archive}" if archive else "")

    def prepare(self):
        self.run("borg", "init", "-e", "none", self.remote())

    def create(self, archive):
        folder, name = os.path.split(self.image)
        return self.run("borg", "create", "--chunker-params", f"fixed,{BLOCK_BYTES}", "-C", "lz4",
                        "--files-cache", "disabled", self.remote(archive), name, cwd=folder)

    def first(self):
        return self.create("first")

    def again(self):
        return self.create("again")

    def extract(self, archive):
        folder = os.path.dirname(self.out)
        to = os.path.join(folder, "borg-out")
        os.mkdir(to)
        try:
            # --sparse into a file takes less time than --stdout.
            done = self.run("borg", "extract", "--sparse", archive, cwd=to)
            same(self.image, os.path.join(to, os.path.basename(self.image)))
        finally:
            shutil.rmtree(to)
        return done

    def restore(self):
        return self.extract(self.remote("again"))

    def restore_local(self):
        return self.extract(f"{self.store}::again")

    def verify(self):
        return self.run("borg", "check", "--verify-data", self.remote())

    def verify_local(self):
        return self.run("borg", "check", "--verify-data", self.store)


class Restic(Peer):
    name = "restic"
    needs = (("restic", "restic"),)

    def environment(self):
        return {"RESTIC_PASSWORD": "bench", "XDG_CACHE_HOME": os.path.join(self.folder, "cache"),
                "TMPDIR": self.folder}

    def call(self, *arguments, local=False, **options):
        if local:
            return self.run("restic", "-r", self.store, *arguments, **options)
        command = f"ssh -F {self.sshd.client_config} {self.sshd.host} -s sftp"
        return self.run("restic", "-o", f"sftp.command={command}", "-r",
                        f"sftp:{self.sshd.host}:{self.store}", *arguments, **options)

    def prepare(self):
        self.call("init")

    def backup(self, *options):
        folder, name = os.path.split(self.image)
        return self.call("backup", *options, name, cwd=folder)

    def first(self):
        return self.backup()

    def again(self):
        # Reads the image as the others do, and does not go by its time of modification.
        return self.backup("--force")

    def take_out(self, local):
        to = self.out + "-restic"
        done = self.call("restore", "latest", "--target", to, local=local)
        same(self.image, os.path.join(to, os.path.basename(self.image)))
        shutil.rmtree(to)
        return done

    def restore(self):
        return self.take_out(False)

    def restore_local(self):
        return self.take_out(True)

    def verify(self):
        return self.call("check", "--read-data")

    def verify_local(self):
        return self.call("check", "--read-data", local=True)


class Casync(Peer):
    """Into a store on this machine: pushed over ssh it takes several times as long. Once in a run."""

    name = "casync local"
    rounds_max = 1
    needs = (("casync", "casync"),)

    def make(self, name):
        # Three equal sizes are as near as it comes to blocks of one size.
        return self.run("casync", "make", f"--chunk-size={BLOCK_BYTES}:{BLOCK_BYTES}:{BLOCK_BYTES}",
                        f"--store={self.store}", os.path.join(self.folder, name), self.image)

    def first(self):
        return self.make("first.caibx")

    def again(self):
        return self.make("again.caibx")

    def restore(self):
        done = self.run("casync", "extract", f"--store={self.store}", "--punch-holes=yes",
                        os.path.join(self.folder, "first.caibx"), self.out)
        same(self.image, self.out)
        return done


class SshCat(Peer):
    name = "ssh cat"
    command = "cat {}"

    def first(self):
        with open(self.store, "wb") as sink:
            return self.run("ssh", "-F", self.sshd.client_config, self.sshd.host,
                            self.command.format(shlex.quote(self.image)), stdout=sink)


class SshLz4(SshCat):
    name = "ssh lz4"
    command = "lz4 -c {}"
    needs = (("lz4", "lz4"),)


class Diskdump(Peer):
    """`work.case.store` is the store that the helpers of bench/dump.py and bench/fleet.py use."""

    def __init__(self, work, place, kind):
        self.kind = kind
        self.name = f"diskdump {kind}"
        super().__init__(work, place)
        self.case = work.case
        self.config = self.sshd.client_config

    def prepare(self):
        self.case.store = self.store
        self.fresh(self.case)

    def fresh(self, case):
        """An empty store of this kind. One of loose blocks is made by the first dump."""
        shutil.rmtree(case.store, ignore_errors=True)
        os.mkdir(case.store)
        if self.kind != "loose":
            dump.run(case, "init", "--format", self.kind)

    def call(self, *arguments):
        self.case.store = self.store
        drop_caches()
        far = far_cpu_s(self.sshd)
        agents = AgentWatch(self.sshd)
        done = dump.run(self.case, *arguments)
        return {"seconds": done["seconds"], "near_cpu_s": done["cpu_s"], "rss_mib": done["rss_mib"],
                "agent_cpu_s": agents.stop(),
                "far_cpu_s": far_cpu_after(self.sshd, far)}, done["events"]

    def dump(self, image, name="bench"):
        figures, events = self.call("dump", "-F", self.config, f"{self.sshd.host}:{image}", "--as", name)
        target = next(e for e in events if e["event"] == "target")
        figures["bytes_wire"] = target["bytes_wire"]
        figures["bytes_new"] = target["blocks_stored"] * BLOCK_BYTES
        return figures

    def first(self):
        return self.dump(self.image)

    again = first

    def restore(self):
        figures, _ = self.call("restore", "bench", "-o", self.out)
        same(self.image, self.out)
        return figures

    def verify(self):
        return self.call("verify")[0]

    def connect(self, empty):
        """An empty file, with an agent that is there already."""
        self.dump(empty, "empty")
        return self.dump(empty, "empty")

    @classmethod
    def version(cls):
        return subprocess.run([DISKDUMP, "--version"], stdout=subprocess.PIPE, text=True,
                              check=True).stdout.strip()


PEERS = (Borg, Restic, Casync, SshCat, SshLz4)


def packages_missing():
    """Says which programs are not there and how to get them."""
    packages = sorted({p for peer in PEERS for p in peer.missing()})
    if packages:
        print(f"missing: {', '.join(packages)}. As root: apt-get install --no-install-recommends "
              f"{' '.join(packages)}", file=sys.stderr)
    return packages
