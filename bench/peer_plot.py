#!/usr/bin/env python3
"""Draws what bench/peers.py --json measured as a picture for README.md: bench/peer_plot.py FILE.json OUT.svg
[PLACE]. For each phase a bar per program, medians of the rounds; PLACE is where the stores were: disk, tmpfs.
"""

import html
import json
import sys

from peer_report import grouped, median

PHASES = (("first dump", "first"), ("unchanged", "again"), ("restore", "restore"), ("verify", "verify"))
# The colours differ in lightness as well, for those who do not see them.
COLORS = {"diskdump": ("#0b6e4f", "#5fae8f"), "borg": ("#c05746",), "restic": ("#e0a458",)}
OTHER_COLOR = "#8d99ae"

WIDTH = 760
LABEL_WIDTH = 130
VALUE_WIDTH = 70
BAR_HEIGHT = 18
BAR_GAP = 4
PHASE_GAP = 26
TITLE_HEIGHT = 22
TOP = 14


def color_of(name, shade):
    for program, colors in COLORS.items():
        if name.startswith(program):
            return colors[min(shade, len(colors) - 1)]
    return OTHER_COLOR


def bars_of(groups, place, phase):
    """[(program, median seconds)], fastest first, of those that have the phase."""
    bars = []
    for (where, name), records in groups.items():
        seconds = median(records, phase, "seconds") if where == place else None
        if seconds is not None:
            bars.append((name, seconds))
    return sorted(bars, key=lambda bar: bar[1])


def picture(result, place):
    groups = grouped(result["records"])
    ours = sorted({name for _, name in groups if name.startswith("diskdump")}, reverse=True)
    phases = [(title, bars_of(groups, place, phase)) for title, phase in PHASES]
    phases = [(title, bars) for title, bars in phases if bars]
    if not phases:
        raise SystemExit(f"nothing was measured with the stores on {place}")
    room = WIDTH - LABEL_WIDTH - VALUE_WIDTH
    parts, y = [], TOP
    for title, bars in phases:
        parts.append(f'<text class="title" x="0" y="{y + 14}">{html.escape(title)}</text>')
        y += TITLE_HEIGHT
        longest = max(seconds for _, seconds in bars)
        for name, seconds in bars:
            length = max(room * seconds / longest, 1)
            shade = ours.index(name) if name in ours else 0
            middle = y + BAR_HEIGHT - 5
            parts.append(
                f'<text x="{LABEL_WIDTH - 8}" y="{middle}" text-anchor="end">{html.escape(name)}</text>'
                f'<rect x="{LABEL_WIDTH}" y="{y}" width="{length:.1f}" height="{BAR_HEIGHT}" rx="2" '
                f'fill="{color_of(name, shade)}"/>'
                f'<text x="{LABEL_WIDTH + length + 6:.1f}" y="{middle}">{seconds:.2f} s</text>')
            y += BAR_HEIGHT + BAR_GAP
        y += PHASE_GAP - BAR_GAP
    height = y - PHASE_GAP + TOP
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
            f'height="{height}" role="img">\n'
            '<style>text{font:13px sans-serif;fill:#333}.title{font-weight:bold}'
            '@media (prefers-color-scheme: dark){text{fill:#ddd}}</style>\n' + "\n".join(parts) + "\n</svg>\n")


def main():
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as given:
        drawn = picture(json.load(given), sys.argv[3] if len(sys.argv) > 3 else "disk")
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        out.write(drawn)


if __name__ == "__main__":
    main()
