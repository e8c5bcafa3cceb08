"""Medians, ratios and aims of what bench/peers.py measured, as tables. Run by itself it shows a file that
--json wrote: bench/peer_report.py FILE [--markdown]
"""

import json
import statistics
import sys

PHASES = (("first", "first dump"), ("again", "unchanged"), ("restore", "restore"),
          ("restore_local", "beside the store"), ("verify", "verify"),
          ("verify_local", "beside the store"))

# (what, phase, beside what, at most so many times its seconds). diskdump restores and verifies beside its
# store; the aims are against the others over ssh, which is how somebody who pushes does it.
RATIO_AIMS = (("first dump", "first", "borg", 0.33), ("first dump", "first", "restic", 0.30),
              ("unchanged", "again", "borg", 0.33), ("restore", "restore", "borg", 0.10),
              ("restore", "restore", "restic", 0.15), ("verify", "verify", "borg", 0.20))
# The same against the others beside their stores, for the reader; no aims.
BESIDE = (("restore", "restore", "borg", "restore_local"), ("restore", "restore", "restic", "restore_local"),
          ("verify", "verify", "borg", "verify_local"), ("verify", "verify", "restic", "verify_local"))
FLEET_AIM = 1.6
CONNECT_AIM_S = 0.35
FAR_AIM = 0.9
FAR_ROUND_TRIP_MS = 100


def median(records, *keys):
    """Of the records that have it; None where none has."""
    values = []
    for record in records:
        for key in keys:
            record = record.get(key) if isinstance(record, dict) else None
        if record is not None:
            values.append(record)
    return statistics.median(values) if values else None


def number(value, digits=2):
    return "–" if value is None else f"{value:.{digits}f}"


def table(head, rows, markdown):
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    if markdown:
        lines = ["| " + " | ".join(row) + " |" for row in cells]
        return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])
    widths = [max(map(len, column)) for column in zip(*cells)]
    return "\n".join("  ".join(cell.ljust(w) if i == 0 else cell.rjust(w)
                               for i, (cell, w) in enumerate(zip(row, widths))) for row in cells)


def grouped(records):
    """(place, name) → its records, in the order of the first round."""
    groups = {}
    for record in records:
        groups.setdefault((record["place"], record["name"]), []).append(record)
    return groups


def times(groups, place, rounds):
    for (where, name), records in groups.items():
        if where == place:
            failed = sorted({key for record in records for key in record.get("failed", {})})
            notes = [f"failed: {', '.join(failed)}"] * bool(failed)
            notes += [f"rounds: {len(records)}"] * (len(records) < rounds)
            yield [name, *(number(median(records, phase, "seconds")) for phase, _ in PHASES),
                   number((median(records, "stored_bytes") or 0) / 1e6, 0),
                   number(median(records, "files"), 0),
                   "; ".join(notes)]


def both_ends(groups, place):
    """Processor seconds of the command, of its children and of what sshd started for it."""
    for (where, name), records in groups.items():
        if where == place:
            for record in records:
                for phase, _ in PHASES:
                    if phase in record:
                        record[phase]["cpu_s"] = record[phase]["near_cpu_s"] + record[phase]["far_cpu_s"]
            yield [name, *(number(median(records, phase, "cpu_s")) for phase, _ in PHASES)]


def cpu(groups):
    """Processor seconds per GB of content that was new, and in all of an unchanged dump."""
    for (where, name), records in groups.items():
        new = median(records, "first", "bytes_new")
        if new:
            per_gb = [median(records, "first", key) * 1e9 / new
                      for key in ("near_cpu_s", "agent_cpu_s", "far_cpu_s")]
            yield [name, where, number(new / 1e6, 0), number(per_gb[0]), number(per_gb[1]),
                   number(per_gb[2] - per_gb[1]), number(median(records, "again", "near_cpu_s")),
                   number(median(records, "again", "agent_cpu_s")),
                   number(median(records, "first", "rss_mib"), 1)]


def far_rows(far):
    groups = {}
    for record in far:
        groups.setdefault((record["name"], record["round_trip_ms"]), []).append(record)
    for (name, round_trip), records in groups.items():
        yield [name, f"{round_trip:g}", number(median(records, "first", "seconds")),
               number(median(records, "again", "seconds"))]


def aims(result):
    """[what, where, measured, aim, met]"""
    groups = grouped(result["records"])
    for (where, name), own in groups.items():
        if not name.startswith("diskdump"):
            continue
        for what, phase, beside, most in RATIO_AIMS:
            mine = median(own, phase, "seconds")
            theirs = median(groups.get((where, beside), []), phase, "seconds")
            ratio = mine / theirs if mine and theirs else None
            yield [f"{what} / {beside}", name, where, number(ratio, 3), f"≤ {most:.2f}",
                   verdict(ratio, ratio is not None and ratio <= most)]
        for what, phase, beside, theirs in BESIDE:
            mine = median(own, phase, "seconds")
            theirs = median(groups.get((where, beside), []), theirs, "seconds")
            if mine and theirs:
                yield [f"{what} / {beside} beside its store", name, where, number(mine / theirs, 3), "", ""]
        one, eight = median(own, "fleet1", "seconds"), median(own, "fleet8", "seconds")
        ratio = eight / one if one and eight else None
        yield ["8 identical / one", name, where, number(ratio), f"≤ {FLEET_AIM}",
               verdict(ratio, ratio is not None and ratio <= FLEET_AIM)]
        connects = [r[k]["seconds"] for r in own for k in r if k.startswith("connect")]
        seconds = statistics.median(connects) if connects else None
        yield ["connect, empty file, s", name, where, number(seconds, 3), f"≤ {CONNECT_AIM_S}",
               verdict(seconds, seconds is not None and seconds <= CONNECT_AIM_S)]
    for name in dict.fromkeys(record["name"] for record in result["far"]):
        near, far = (median([r for r in result["far"] if r["name"] == name and r["round_trip_ms"] == ms],
                            "again", "seconds") for ms in (0, FAR_ROUND_TRIP_MS))
        ratio = near / far if near and far else None
        yield [f"unchanged, rate at {FAR_ROUND_TRIP_MS} ms / 0 ms", name, "tmpfs", number(ratio),
               f"≥ {FAR_AIM}", verdict(ratio, ratio is not None and ratio >= FAR_AIM)]


def verdict(value, met):
    return "not measured" if value is None else "met" if met else "not met"


def show(result, markdown):
    groups = grouped(result["records"])
    loads = result["loads"]
    print(f"image {result['image_bytes'] / 2**20:.0f} MiB, of it {result['held_bytes'] / 2**20:.0f} MiB data; "
          f"{result['cores']} cores; medians of {result['rounds']}; load {min(loads):.1f} to {max(loads):.1f}; "
          f"page cache {'dropped' if result['caches_dropped'] else 'NOT dropped (takes root)'} before each "
          f"phase")
    print("; ".join(filter(None, result["versions"])))
    for package in result["missing"]:
        print(f"not measured, not installed: {package}")
    for place in dict.fromkeys(where for where, _ in groups):
        print(f"\nStore on {place}, seconds:\n")
        print(table(["", *(title for _, title in PHASES), "stored MB", "files", ""],
                    times(groups, place, result["rounds"]), markdown))
        print(f"\nStore on {place}, processor seconds of both ends:\n")
        print(table(["", *(title for _, title in PHASES)], both_ends(groups, place), markdown))
    print("\nProcessor seconds of diskdump; per GB of new content, but for unchanged:\n")
    print(table(["", "store", "new MB", "server", "agent", "its sshd", "server, unchanged",
                 "agent, unchanged", "RSS MiB"], cpu(groups), markdown))
    if result["far"]:
        print("\nWith a round trip (store on tmpfs), seconds:\n")
        print(table(["", "ms", "first dump", "unchanged"], far_rows(result["far"]), markdown))
    rows = list(aims(result))
    print("\nAims:\n")
    print(table(["", "", "store on", "measured", "aim", ""], rows, markdown))
    fleet = [[name, where, number(median(own, "fleet1", "seconds")), number(median(own, "fleet8", "seconds"))]
             for (where, name), own in groups.items() if name.startswith("diskdump")]
    if any("fleet1" in record for record in result["records"]):
        print("\n512 MiB, one target and eight identical ones, seconds:\n")
        print(table(["", "store", "one", "eight"], fleet, markdown))


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        show(json.load(file), "--markdown" in sys.argv[2:])


if __name__ == "__main__":
    main()
