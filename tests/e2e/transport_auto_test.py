#!/usr/bin/env python3
"""`--transport auto`, which is what nobody has to think about: whatever the server and the user's keys
are, a plain `diskdump dump` gets there, by libssh2 where that can, else by openssh, and -v says why."""

import os
import shutil
import subprocess
import tempfile

import images
from cli import Diskdump
from fixture import Scenario, cases, run, tool
from sshd import Sshd

BY_LIBSSH2 = "connected by ssh (libssh2)"
BY_OPENSSH = "connected by openssh"


class Auto(Scenario):
    def setUp(self):
        super().setUp()
        self.diskdump = Diskdump(self)
        self.source = images.write(self.path("image"), images.bytes_of(3, 3 * images.BLOCK + 77))

    def dump(self, sshd, *options, config=None, diskdump=None):
        """A dump that is restored and compared; what -v said."""
        arguments = ["-F", config] if config else sshd.arguments
        done = (diskdump or self.diskdump).dump("-v", *arguments, *options,
                                                f"{sshd.host}:{self.source}", "--as", "image")
        self.assertEqual(done.target["status"], "ok")
        restored = self.path("restored")
        self.diskdump.restore("image", restored)
        self.assert_same_content(self.source, restored)
        os.unlink(restored)
        return done.stderr

    def assert_fell_back(self, said, reason):
        self.assertIn(BY_OPENSSH, said)
        self.assertRegex(said, "using openssh instead of libssh2: .*" + reason)

    def assert_either(self, said, reason):
        """What a newer libssh2 can do as well; an older one must say why it cannot."""
        if BY_LIBSSH2 in said:
            self.assertNotIn("instead of libssh2", said)
        else:
            self.assert_fell_back(said, reason)

    def config(self, sshd, *lines, name="own_config", keys=None, before=()):
        """An ssh_config like the fixture's, of which each line may be another."""
        keys = [sshd.key] if keys is None else keys
        return sshd.write(name, "\n".join([
            *before, f"Host {sshd.host}", "  HostName 127.0.0.1", f"  Port {sshd.port}",
            f"  User {sshd.user}", *(f"  IdentityFile {key}" for key in keys),
            f"  UserKnownHostsFile {sshd.path('known_hosts')}",
            "  GlobalKnownHostsFile /dev/null", *("  " + line for line in lines)]) + "\n")

    def key(self, sshd, name, kind):
        """A key pair that the server does not know."""
        sshd.make_key(name, kind)
        return sshd.path(name)

    def fingerprint(self, path):
        done = run(tool("ssh-keygen"), "-l", "-E", "sha256", "-f", path + ".pub")
        return done.stdout.decode().split()[1]

    def agent_with(self, *keys):
        """An ssh-agent that holds these keys; the socket."""
        socket = os.path.join(tempfile.mkdtemp(dir=self.folder), "agent")
        agent = subprocess.Popen([tool("ssh-agent"), "-D", "-a", socket],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(agent.wait)
        self.addCleanup(agent.terminate)
        for _ in range(200):
            if os.path.exists(socket):
                break
            try:
                agent.wait(0.05)
            except subprocess.TimeoutExpired:
                pass
        for key in keys:
            run(tool("ssh-add"), key, env={**os.environ, "SSH_AUTH_SOCK": socket})
        return socket


class Server(Auto):
    def test_what_libssh2_can_do_goes_by_libssh2(self):
        said = self.dump(Sshd(self))
        self.assertIn(BY_LIBSSH2, said)
        self.assertNotIn("instead of libssh2", said)

    def test_why_is_told_with_v_only(self):
        sshd = Sshd(self)
        config = self.config(sshd, "ProxyCommand nc %h %p")
        done = self.diskdump.dump("-F", config, f"{sshd.host}:/nowhere", expect=1)
        self.assertNotIn("instead of libssh2", done.stderr)

    def test_a_server_with_an_rsa_host_key_only(self):
        self.assert_either(self.dump(Sshd(self, host_key="rsa")), "negotiation failed|ssh-rsa")

    def test_a_server_with_aead_ciphers_only(self):
        for cipher in ("chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com",
                       "aes256-gcm@openssh.com"):
            with self.subTest(cipher=cipher):
                said = self.dump(Sshd(self, options=[f"Ciphers {cipher}"]))
                self.assert_either(said, "negotiation failed")

    def test_a_host_behind_another_one(self):
        sshd = Sshd(self)
        jump = ["Host jump", "  HostName 127.0.0.1", f"  Port {sshd.port}", f"  User {sshd.user}",
                f"  IdentityFile {sshd.key}", f"  UserKnownHostsFile {sshd.path('known_hosts')}"]
        config = self.config(sshd, "ProxyJump jump", before=jump)
        self.assert_fell_back(self.dump(sshd, config=config), "ProxyJump jump")
        # Two logins: the one on the way, and the one there.
        self.assertEqual(sshd.log_text().count("Accepted publickey"), 2)
        done = self.diskdump.dump("-F", config, "--transport", "libssh2",
                                  f"{sshd.host}:{self.source}", expect=1)
        self.assertRegex(done.error, "libssh2 cannot do ProxyJump jump .*--transport openssh")

    def test_a_server_with_keys_of_several_types_one_of_which_is_known(self):
        for known in ("ed25519", "ecdsa", "rsa"):
            with self.subTest(known=known):
                sshd = Sshd(self, start=False)
                for kind in ("ed25519", "ecdsa", "rsa"):
                    sshd.make_key("host_" + kind, kind)
                    sshd.options.append(f"HostKey {sshd.path('host_' + kind)}")
                shutil.copy(sshd.path(f"host_{known}.pub"), sshd.path("host_key.pub"))
                sshd.start()
                said = self.dump(sshd)
                if known == "rsa":
                    self.assert_either(said, "a host key of type ssh-rsa")
                else:
                    self.assertIn(BY_LIBSSH2, said)


class Keys(Auto):
    def test_user_port_and_key_of_the_command_line(self):
        sshd = Sshd(self)
        # Nothing but where host keys are known.
        config = sshd.write("bare_config", f"UserKnownHostsFile {sshd.path('known_hosts')}\n"
                                           "GlobalKnownHostsFile /dev/null\n")
        for transport in ("libssh2", "openssh"):
            for who in (["-u", sshd.user, f"127.0.0.1:{self.source}"],
                        [f"{sshd.user}@127.0.0.1:{self.source}"]):
                with self.subTest(transport=transport, who=who):
                    done = self.diskdump.dump("-F", config, "-i", sshd.key, "-p", str(sshd.port),
                                              "--transport", transport, *who, "--as", "image")
                    self.assertEqual(done.target["status"], "ok")
        refused = self.diskdump.dump("-F", config, "-i", self.key(sshd, "stranger", "ed25519"), "-p",
                                     str(sshd.port), f"{sshd.user}@127.0.0.1:{self.source}", expect=1)
        self.assertIn("authentication", refused.error)

    def test_an_rsa_key(self):
        self.assert_either(self.dump(Sshd(self, user_key="rsa")), "the RSA key .*user_key")

    def test_an_rsa_key_in_the_agent(self):
        sshd = Sshd(self, user_key="rsa")
        socket = self.agent_with(sshd.key)
        os.unlink(sshd.key)  # .pub stays
        diskdump = Diskdump(self, env={"SSH_AUTH_SOCK": socket})
        self.assert_either(self.dump(sshd, diskdump=diskdump), "the RSA key ssh-rsa SHA256:")

    def test_a_certificate(self):
        sshd = Sshd(self, start=False)
        authority = self.key(sshd, "authority", "ed25519")
        run(tool("ssh-keygen"), "-q", "-s", authority, "-I", "test", "-n", sshd.user,
            sshd.key + ".pub")
        sshd.write("authorized_keys", "")
        sshd.options.append(f"TrustedUserCAKeys {authority}.pub")
        sshd.start()
        self.assert_fell_back(self.dump(sshd), "the certificate .*user_key-cert.pub")
        self.assertIn("ED25519-CERT", sshd.log_text())

    def test_a_certificate_that_is_named(self):
        sshd = Sshd(self, start=False)
        authority = self.key(sshd, "authority", "ed25519")
        run(tool("ssh-keygen"), "-q", "-s", authority, "-I", "test", "-n", sshd.user,
            sshd.key + ".pub")
        os.rename(sshd.path("user_key-cert.pub"), sshd.path("elsewhere.pub"))
        sshd.write("authorized_keys", "")
        sshd.options.append(f"TrustedUserCAKeys {authority}.pub")
        sshd.start()
        config = self.config(sshd, f"CertificateFile {sshd.path('elsewhere.pub')}")
        self.assert_fell_back(self.dump(sshd, config=config), "the certificate .*elsewhere.pub")

    def test_several_keys_of_which_the_last_is_the_right_one(self):
        sshd = Sshd(self)
        others = [self.key(sshd, "other_" + kind, kind) for kind in ("rsa", "ecdsa", "ed25519")]
        said = self.dump(sshd, config=self.config(sshd, keys=[*others, sshd.key]))
        self.assertIn(BY_LIBSSH2, said)

    def test_identities_only_offers_no_other_key_of_the_agent(self):
        for transport in ("auto", "openssh"):
            with self.subTest(transport=transport):
                sshd = Sshd(self)
                others = [self.key(sshd, f"other_{i}", "ed25519") for i in range(3)]
                diskdump = Diskdump(self, env={"SSH_AUTH_SOCK": self.agent_with(*others)})
                prints = [self.fingerprint(key) for key in others]
                config = self.config(sshd, "IdentitiesOnly yes")
                self.dump(sshd, "--transport", transport, config=config, diskdump=diskdump)
                for one in prints:
                    self.assertNotIn(one, sshd.log_text())

    def test_without_identities_only_they_are_offered(self):
        # What the case above says would otherwise be true of an agent that nobody asks.
        sshd = Sshd(self)
        other = self.key(sshd, "other", "ed25519")
        diskdump = Diskdump(self, env={"SSH_AUTH_SOCK": self.agent_with(other)})
        self.dump(sshd, config=self.config(sshd, "IdentitiesOnly no"), diskdump=diskdump)
        self.assertIn(self.fingerprint(other), sshd.log_text())

    def test_identities_only_takes_a_listed_key_from_the_agent(self):
        sshd = Sshd(self)
        others = [self.key(sshd, f"other_{i}", "ed25519") for i in range(8)]
        socket = self.agent_with(*others, sshd.key)
        os.unlink(sshd.key)  # .pub stays: which of the agent's keys is meant
        # The server would not take nine tries.
        diskdump = Diskdump(self, env={"SSH_AUTH_SOCK": socket})
        said = self.dump(sshd, config=self.config(sshd, "IdentitiesOnly yes"), diskdump=diskdump)
        self.assertIn(BY_LIBSSH2, said)


if __name__ == "__main__":
    cases.main()
