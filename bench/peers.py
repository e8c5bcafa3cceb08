#!/usr/bin/env python3
"""diskdump beside borg, restic, casync, `ssh cat` and `ssh lz4`, in turn within one run:
bench/peers.py [--rounds N] [--stores loose …] [--places disk tmpfs] [--json FILE] [--markdown]

The workload is 3 GiB of ext4 on tmpfs that hold 0.95 GB of files of /usr (the image of dump.py --original);
what is measured is how it comes from one "machine" into a store on another over a loopback sshd, and back.
borg and restic push, diskdump pulls. Each round runs all programs once, with stores on a disk and on tmpfs.
Before every phase what is dirty is written and the page cache dropped, where root can. Prints the medians, the
ratios to diskdump, and whether diskdump's aims are met. A program that is not installed is left out.

A disk's folder is given by --disk (default: below the build folder); the rest lies in --folder (tmpfs).
Needs `ninja -C build src/cli/diskdump bench/delay_proxy`.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../tests/e2e"))

import dump  # noqa: E402
import fleet  # noqa: E402
import peer_report  # noqa: E402
from delay_proxy import DelayProxy  # noqa: E402
from fixture import BUILD  # noqa: E402
from peer_tools import PEERS, Diskdump, Failed, drop_caches, packages_missing, size_of  # noqa: E402
from sshd import Sshd  # noqa: E402

PHASES = ("first", "again", "restore", "restore_local", "verify", "verify_local")
FLEET_COUNTS = (1, 8)
FLEET_MIB = 512
CONNECTS = 5


class Work:
    """The image, the machine it lies on, and the folders for stores."""

    def __init__(self, case, given):
        self.case = case
        self.given = given
        self.sshd = Sshd(case, options=["MaxStartups 1000", "MaxSessions 100"])
        self.image = case.path("image")
        dump.make_image(self.image, dump.ORIGINAL_SIZE_MIB, dump.ORIGINAL_SOURCES,
                        dump.ORIGINAL_DATA_BYTES)
        self.empty = case.path("empty")
        with open(self.empty, "wb"):
            pass
        self.folders = {"tmpfs": case.path("stores")}
        os.mkdir(self.folders["tmpfs"])
        if "disk" in given.places:
            os.makedirs(given.disk, exist_ok=True)
            self.folders["disk"] = tempfile.mkdtemp(prefix="peers-", dir=given.disk)
            case.addCleanup(shutil.rmtree, self.folders["disk"], ignore_errors=True)

    def runners(self):
        """(name, place, runner) in the order of a round."""
        found = []
        for place in self.given.places:
            for kind in self.given.stores:
                found.append(Diskdump(self, place, kind))
                found[-1].place = place
            for peer in PEERS:
                if not peer.missing() and peer.name.split()[-1] not in self.given.without:
                    found.append(peer(self, place))
                    found[-1].place = place
        return found


def attempt(record, key, action):
    """What `action` took, or what it failed with; whether there was such a phase and it went well."""
    try:
        done = action()
    except (Failed, OSError, SystemExit) as failure:
        record.setdefault("failed", {})[key] = str(failure)
        print(f"  {record['name']}: {key} failed: {failure}", file=sys.stderr, flush=True)
        return False
    if done is not None:
        record[key] = done
    return done is not None


def measure(work, peer):
    record = {"name": peer.name, "place": peer.place, "load": os.getloadavg()[0]}
    try:
        if not attempt(record, "made", lambda: peer.begin() or {}):
            return record
        for phase in PHASES:
            if attempt(record, phase, getattr(peer, phase)):
                if phase == "first":
                    record["stored_bytes"], record["files"] = size_of(peer.store)
            elif phase == "first":
                break
        if isinstance(peer, Diskdump):
            for number in range(CONNECTS):
                attempt(record, f"connect{number}", lambda: peer.connect(work.empty))
    finally:
        peer.end()
    return record


def measure_fleet(work, peer, image, record):
    """One and eight identical targets, each under a host name of its own."""
    try:
        if not attempt(record, "made for fleet", lambda: peer.begin() or {}):
            return
        for count in FLEET_COUNTS:
            drop_caches()
            attempt(record, f"fleet{count}",
                    lambda n=count: fleet.identical(work.case, work.sshd, image, n, 1, peer.fresh))
    finally:
        peer.end()


def measure_far(work, peer, round_trip_ms):
    """First and unchanged over a way that takes so long."""
    record = {"name": peer.name, "place": peer.place, "round_trip_ms": round_trip_ms}
    proxy = DelayProxy(work.sshd.port, round_trip_ms)
    try:
        peer.config = proxy.client_config(work.sshd)
        if attempt(record, "made", lambda: peer.begin() or {}):
            for phase in ("first", "again"):
                attempt(record, phase, getattr(peer, phase))
    finally:
        peer.config = work.sshd.client_config
        peer.end()
        proxy.stop()
    return record


def one_round(work, number, fleet_image):
    records, far = [], []
    for peer in work.runners():
        if peer.rounds_max is not None and number >= peer.rounds_max:
            continue
        record = measure(work, peer)
        if isinstance(peer, Diskdump) and fleet_image and "first" in record:
            measure_fleet(work, peer, fleet_image, record)
        records.append(record)
        print(f"round {number + 1} {peer.place:5} {peer.name:14} " + "  ".join(
            f"{phase} {record[phase]['seconds']:.2f}" for phase in PHASES if phase in record) +
            f"  load {record['load']:.1f}", file=sys.stderr, flush=True)
    for kind in work.given.stores:
        peer = Diskdump(work, "tmpfs", kind)
        peer.place = "tmpfs"
        for round_trip_ms in work.given.round_trips:
            far.append(measure_far(work, peer, round_trip_ms))
    return records, far


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stores", nargs="+", default=["loose"],
                        help="store formats of diskdump: loose, pack")
    parser.add_argument("--places", nargs="+", choices=["disk", "tmpfs"], default=["disk", "tmpfs"])
    parser.add_argument("--disk", default=os.path.join(BUILD, "bench-peers"))
    parser.add_argument("--folder", default="/dev/shm")
    parser.add_argument("--round-trips", type=float, nargs="*", default=[0, 10, 50, 100], metavar="MS")
    parser.add_argument("--without", nargs="*", default=[], metavar="NAME",
                        help="leave out: borg, restic, casync, cat, lz4")
    parser.add_argument("--no-fleet", action="store_true", help="no identical targets")
    parser.add_argument("--json", metavar="FILE", help="every figure of every round")
    parser.add_argument("--markdown", action="store_true", help="tables as in README.md")
    given = parser.parse_args()
    given.without = ["local" if name == "casync" else name for name in given.without]
    return given


def main():
    given = arguments()
    missing = packages_missing()
    os.environ["TMPDIR"] = given.folder
    case = dump.Case()
    case.setUp()
    try:
        work = Work(case, given)
        fleet_image = None
        if not given.no_fleet:
            fleet_image = case.path("fleet")
            fleet.make_image(fleet_image, FLEET_MIB * dump.MIB, ["/usr/lib", "/usr/bin", "/usr/share"])
        result = {
            "date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(), "rounds": given.rounds,
            "image_bytes": os.path.getsize(work.image),
            "held_bytes": os.stat(work.image).st_blocks * 512,
            "caches_dropped": drop_caches(), "missing": missing,
            "versions": list(dict.fromkeys(peer.version() for peer in work.runners())),
            "loads": [os.getloadavg()[0]], "records": [], "far": []}
        for number in range(given.rounds):
            records, far = one_round(work, number, fleet_image)
            result["records"] += records
            result["far"] += far
            result["loads"].append(os.getloadavg()[0])
            if given.json:  # also of a run that is broken off later
                with open(given.json, "w", encoding="utf-8") as out:
                    json.dump({**result, "rounds": number + 1}, out, indent=1)
    finally:
        case.doCleanups()
    peer_report.show(result, given.markdown)


if __name__ == "__main__":
    main()
