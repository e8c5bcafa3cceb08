"""A real sshd on a free port of 127.0.0.1, with its own configuration, host keys and user keys, and an
ssh_config that leads to it. It runs as root, or as the ordinary user who runs the tests.

Only what this fixture started is ever ended: the server, and the processes below it.
"""

import ctypes
import getpass
import os
import shlex
import signal
import socket
import subprocess
import tempfile

from fixture import (IS_ROOT, descendants, is_alive, read_proc, run, tool, wait_until)
from relay import Relay

SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server",
                "/usr/lib/ssh/sftp-server", "/usr/libexec/sftp-server")


def sftp_server():
    return next((path for path in SFTP_SERVERS if os.path.exists(path)), "internal-sftp")


PR_SET_PDEATHSIG = 1


def end_with_parent():
    """A test that is killed by its time-out cleans nothing up; its sshd must not stay."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


class Sshd:
    """Knobs: `sftp`: whether there is an SFTP subsystem; `options`: lines of sshd_config;
    `wrapper`: text of a shell script that gets each command in SSH_ORIGINAL_COMMAND;
    `environment`: variables of each session; `host_key` and `user_key`: key types.

    `case` is the Scenario whose folder it lives in and whose clean-up ends it. `host` is the name
    that ssh_config knows it by.
    """

    host = "target"

    def __init__(self, case, sftp=True, options=(), wrapper=None, environment=None,
                 host_key="ed25519", user_key="ed25519", user=None, start=True,
                 host=None):
        self.case = case
        self.host = host or self.host
        self.program = tool("sshd")
        tool("ssh")
        self.folder = tempfile.mkdtemp(prefix="sshd-", dir=case.folder)
        os.chmod(self.folder, 0o755)  # the users who log in read their keys here
        self.user = user or getpass.getuser()
        self.environment = dict(environment or {})
        # Everything a session puts on the "target" goes below the scenario's folder, and is found by it.
        cache = os.path.join(self.folder, "cache")
        os.mkdir(cache)
        os.chmod(cache, 0o1777)
        self.cache = os.path.join(cache, self.user)
        # An agent that earlier runs left in the user's real home is not to be found.
        self.environment.update(XDG_CACHE_HOME=self.cache, HOME=cache)
        self.process = None
        self.make_key("host_key", host_key)
        self.make_key("user_key", user_key)
        self.key = self.path("user_key")
        with open(self.path("user_key.pub"), encoding="ascii") as public:
            self.write("authorized_keys", public.read(), 0o644)
        self.wrapper = None
        if wrapper is not None:
            self.wrapper = self.write("wrapper", "#!/bin/sh\n" + wrapper, 0o755)
        self.options = list(options)
        self.sftp = sftp
        self.log = self.path("sshd.log")
        case.addCleanup(self.stop)
        case.servers.append(self)
        if start:
            self.start()

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text, mode=0o644):
        with open(self.path(name), "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(self.path(name), mode)
        return self.path(name)

    def make_key(self, name, kind):
        bits = ["-b", "2048"] if kind == "rsa" else []
        run(tool("ssh-keygen"), "-q", "-t", kind, *bits, "-N", "", "-C", "test", "-f",
            self.path(name))

    def sshd_config(self):
        environment = " ".join(f'{name}="{value}"' for name, value in self.environment.items())
        lines = [
            *self.options,  # sshd takes the first of each
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {self.path('host_key')}",
            f"AuthorizedKeysFile {self.path('authorized_keys')}",
            f"PidFile {self.path('sshd.pid')}",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin yes",
            "MaxStartups 100",
            "LogLevel VERBOSE",
            f"SetEnv {environment}",
        ]
        if self.sftp:
            lines.append(f"Subsystem sftp {sftp_server()}")
        if self.wrapper:
            lines.append(f"ForceCommand {self.wrapper}")
        return "\n".join(lines) + "\n"

    def start(self):
        if IS_ROOT:
            # Where sshd's unprivileged half lives; a machine whose sshd never ran has none yet.
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        for _ in range(5):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
            config = self.write("sshd_config", self.sshd_config())
            with open(self.log, "ab") as log:
                self.process = subprocess.Popen([self.program, "-D", "-e", "-f", config],
                                                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                start_new_session=True, preexec_fn=end_with_parent)
            if wait_until(lambda: self.process.poll() is not None or self.answers(), 20):
                if self.process.poll() is None:
                    break
        else:
            self.case.fail(f"sshd does not start:\n{self.log_text()}")
        self.write_client_config()

    def answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as probe:
                probe.settimeout(5)
                return probe.recv(4) == b"SSH-"
        except OSError:
            return False

    def write_client_config(self, known=True, extra=()):
        with open(self.path("host_key.pub"), encoding="ascii") as public:
            kind, blob = public.read().split()[:2]
        self.write("known_hosts", f"[127.0.0.1]:{self.port} {kind} {blob}\n" if known else "")
        self.client_config = self.write("ssh_config", "\n".join([
            f"Host {self.host}",
            "  HostName 127.0.0.1",
            f"  Port {self.port}",
            f"  User {self.user}",
            f"  IdentityFile {self.key}",
            "  IdentitiesOnly yes",
            f"  UserKnownHostsFile {self.path('known_hosts')}",
            "  GlobalKnownHostsFile /dev/null",
            *("  " + line for line in extra)]) + "\n")

    def relayed(self):
        """A relay that clients go through from now on."""
        relay = Relay(self.case, self.port)
        for name, before in (("ssh_config", "Port "), ("known_hosts", ":")):
            with open(self.path(name), encoding="utf-8") as config:
                text = config.read()
            self.write(name, text.replace(f"{before}{self.port}", f"{before}{relay.port}"))
        return relay

    @property
    def arguments(self):
        """What `diskdump dump` needs to get here."""
        return ["-F", self.client_config]

    def fingerprint(self):
        done = run(tool("ssh-keygen"), "-l", "-E", "sha256", "-f", self.path("host_key.pub"))
        return done.stdout.decode().split()[1]

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    # ---- Faults ---------------------------------------------------------------------------------

    def sessions(self):
        """The sshd processes that serve connections, also one that nobody has logged in to."""
        return [p for p in descendants(self.process.pid)
                if read_proc(p, "comm").strip().startswith(b"sshd")]

    def kill_sessions(self):
        """The connections break as if the machine lost its sshd; what they started is not touched."""
        for pid in self.sessions():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def agents(self):
        """Processes below the sessions that are no sshd: shells, sudo, agents."""
        return [p for p in descendants(self.process.pid)
                if not read_proc(p, "comm").strip().startswith(b"sshd")]

    def stop(self):
        if self.process is None:
            return
        below = descendants(self.process.pid)
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None
        for pid in below:
            if is_alive(pid) and read_proc(pid, "comm").strip().startswith(b"sshd"):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass


NOISE_BYTES = 5000


def noise_wrapper(case):
    """A login script that prints 5 kB of binary noise before each command, on stdout and stderr."""
    noise = os.path.join(case.folder, "noise")
    with open(noise, "wb") as out:
        out.write(bytes((i * 167 + 13) % 256 for i in range(NOISE_BYTES)))
    os.chmod(noise, 0o644)
    quoted = shlex.quote(noise)
    return f'cat {quoted}\ncat {quoted} >&2\nexec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n'


def hostile_wrapper(script, mode):
    """Runs `script MODE NONCE DIGEST` in the place of the agent: of the command that holds a nonce.
    The line before it is what the launching command says when it has found the agent."""
    with open(script, encoding="utf-8") as text:
        assert f"def mode_{mode}(" in text.read(), f"{script} has no mode {mode}"
    return (
        'words=$(printf "%s" "$SSH_ORIGINAL_COMMAND" | tr -c "0-9a-f" "\\n")\n'
        'nonce=$(printf "%s" "$words" | grep -xE "[0-9a-f]{32}" | head -n 1)\n'
        'digest=$(printf "%s" "$words" | grep -xE "[0-9a-f]{64}" | head -n 1)\n'
        'if [ -n "$nonce" ]; then\n'
        '  echo "diskdump-$nonce:run:/hostile"\n'
        f'  exec python3 {shlex.quote(script)} {mode} "$nonce" "$digest"\n'
        'fi\n'
        'exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n')
