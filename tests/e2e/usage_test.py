#!/usr/bin/env python3
"""Command lines that are wrong: refused before anything is opened, with what is wrong about them."""

import os

import images
from cli import Diskdump
from fixture import Scenario, cases

FAILED, USAGE = 1, 2


class Usage(Scenario):
    def setUp(self):
        super().setUp()
        self.diskdump = Diskdump(self)
        self.image = images.write(self.path("image"), images.bytes_of(1, 700_001))

    def test_names_that_would_leave_their_folder(self):
        for name in ("../../x", "a/b", "..", ".hidden", "", "x\ny", "n" * 300):
            with self.subTest(name=name):
                done = self.diskdump.dump(f"localhost:{self.image}", "--as", name, expect=None)
                self.assertEqual(done.status, USAGE)
                self.assertRegex(done.stderr, "name")
                self.assertEqual(self.manifests(), [])
        self.assertEqual(sorted(os.listdir(self.folder)), ["image", "store"])

    def test_one_name_for_two_images_and_one_disk_twice(self):
        other = images.write(self.path("other"), images.bytes_of(2, 1000))
        for targets, words in (
                ([f"localhost:{self.image}", "--as", "x", f"localhost:{other}", "--as", "x"],
                 f"{self.image} and localhost:{other} would both be called x.*--as"),
                ([f"localhost:{self.image}", f"localhost:{self.image}"],
                 f"{self.image} is given twice")):
            with self.subTest(targets=targets):
                done = self.diskdump.dump(*targets, expect=USAGE)
                self.assertRegex(done.stderr, words)
                self.assertEqual(self.manifests(), [])

    def test_absurd_block_and_batch_sizes(self):
        for option in ("--block-size", "--batch-size"):
            for value in ("0", "-1", "1", "4095", "5000", "17000000", "99999999999999999999", "x", "1.5",
                          ""):
                if option == "--batch-size" and value in ("1", "4095", "5000"):
                    continue
                with self.subTest(option=option, value=value):
                    done = self.diskdump.dump(f"{option}={value}", f"localhost:{self.image}",
                                              expect=USAGE)
                    self.assertRegex(done.text, "block|batch")
        self.diskdump.dump("--block-size", 16 << 20, "--batch-size", 65536, f"localhost:{self.image}",
                           expect=USAGE)
        self.assertEqual(self.manifests(), [])

    def test_options_that_are_not_there_or_lack_a_value(self):
        for arguments in ([], ["dump"], ["dump", "--as"], ["dump", "--sudo"], ["dump", "--as", "x"],
                          ["dump", "nohost"], ["dump", ":/path"], ["dump", "host:"], ["frobnicate"],
                          ["dump", "--no-such-option", f"localhost:{self.image}"], ["restore"],
                          ["dump", "--wire", "zip", f"localhost:{self.image}"],
                          ["dump", "-p", "70000", f"localhost:{self.image}"],
                          ["dump", "--transport", "pigeon", f"localhost:{self.image}"]):
            with self.subTest(arguments=arguments):
                done = self.diskdump.run(*arguments, expect=USAGE)
                self.assertTrue(done.text.strip())
        self.assertEqual(self.manifests(), [])

    def test_an_argument_with_a_dash_is_no_option_of_ssh(self):
        victim = self.path("touched")
        done = self.diskdump.dump("--transport", "openssh", "--",
                                  f"-oProxyCommand=touch {victim}:{self.image}", expect=None)
        self.assertIn(done.status, (FAILED, USAGE))
        self.assertFalse(os.path.exists(victim))


if __name__ == "__main__":
    cases.main()
