"""The chart in the README: what the gateway reaches of each ceiling, as an SVG drawn by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

from bench.report import Figure, shown

WIDTH, LEFT, RIGHT, TOP, ROW = 880, 310, 150, 82, 34
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2937 }
.title { font-size: 15px; font-weight: 600 }
.note { fill: #6b7280 }
.ceiling { fill: #e5e7eb }
.ours { fill: #2563eb }
.goal { stroke: #111827; stroke-width: 2 }
.spread { stroke: #1e3a8a; stroke-width: 1.5 }
"""


NGINX, TUTORIAL, OURS = "nginx, return 204", "Flask + boto3 in the request", "Personalize Gateway"


class Bar(NamedTuple):
    """What is reached of a ceiling; shares of 1."""

    label: str
    share: Figure
    text: str


def bars(figures: Sequence[Figure]) -> list[Bar]:
    """Those figures that are a share of a ceiling and have a goal."""
    rates = {figure.name: figure for figure in figures}
    found = []
    for figure in figures:
        name, _, of = figure.name.rpartition(", ")
        if of.startswith("of the ") and figure.at_least is not None and name in rates:
            rate = rates[name]
            found.append(Bar(name, figure, f"{shown(rate.median)} {rate.unit}"))
    return found


def svg(figures: Sequence[Figure]) -> str:
    rows = bars(figures)
    height = TOP + ROW * len(rows) + 30
    drawn = "\n".join(_row(bar, TOP + ROW * index) for index, bar in enumerate(rows))
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"
 aria-label="What the gateway reaches of each ceiling">
<style>{STYLE}</style>
<rect width="{WIDTH}" height="{height}" fill="#fff"/>
<text class="title" x="16" y="26">What is reached of each ceiling</text>
<text class="note" x="16" y="46">accept: an empty Flask route under the same gunicorn · \
forward: a bare boto3 loop of full batches</text>
<text class="note" x="16" y="64">black mark: the goal · blue line: the rounds' spread</text>
{drawn}
</svg>
"""


def _row(bar: Bar, y: int) -> str:
    full = WIDTH - LEFT - RIGHT
    share = min(bar.share.median, 1.0)
    low, high = (LEFT + full * min(bound, 1.0) for bound in _bounds(bar.share))
    goal = LEFT + full * (bar.share.at_least or 0)
    return f"""\
<text x="{LEFT - 10}" y="{y + 18}" text-anchor="end">{escape(bar.label)}</text>
<rect class="ceiling" x="{LEFT}" y="{y + 5}" width="{full}" height="18" rx="3"/>
<rect class="ours" x="{LEFT}" y="{y + 5}" width="{full * share:.0f}" height="18" rx="3"/>
<line class="spread" x1="{low:.0f}" x2="{high:.0f}" y1="{y + 26}" y2="{y + 26}"/>
<line class="goal" x1="{goal:.0f}" x2="{goal:.0f}" y1="{y + 2}" y2="{y + 26}"/>
<text x="{LEFT + 8}" y="{y + 18}" style="fill:#fff;font-weight:600">{bar.share.median:.2f}</text>
<text class="note" x="{LEFT + full + 8}" y="{y + 18}">{escape(bar.text)}</text>"""


def _bounds(figure: Figure) -> tuple[float, float]:
    return min(figure.values), max(figure.values)


def comparison(figures: Sequence[Figure]) -> str:
    """Return the README's picture: beacons per second of the tutorial's way, and of ours."""
    found = {figure.name: figure for figure in figures}
    if not {NGINX, TUTORIAL, OURS} <= found.keys():
        return ""
    rows = [TUTORIAL, OURS]
    highest = max(found[name].median for name in rows)
    drawn = "\n".join(_compared(found, name, index, highest) for index, name in enumerate(rows))
    height = TOP + ROW * len(rows) + 16
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"
 aria-label="Beacons per second: a Flask route that calls PutEvents, and the gateway">
<style>{STYLE}</style>
<rect width="{WIDTH}" height="{height}" fill="#fff"/>
<text class="title" x="16" y="26">Beacons per second on two cores shared with the load</text>
<text class="note" x="16" y="46">32 connections, two events a beacon; PutEvents takes 20 ms</text>
<text class="note" x="16" y="64">for scale: nginx, which stores nothing, answers \
{shown(found[NGINX].median)}</text>
{drawn}
</svg>
"""


def _compared(found: Mapping[str, Figure], name: str, index: int, highest: float) -> str:
    y, rate, p99 = TOP + ROW * index, found[name].median, found[f"{name}, p99"].median
    width = (WIDTH - LEFT - RIGHT - 60) * rate / highest
    return f"""\
<text x="{LEFT - 10}" y="{y + 18}" text-anchor="end">{escape(name)}</text>
<rect class="ours" x="{LEFT}" y="{y + 5}" width="{width:.0f}" height="18" rx="3"/>
<text class="note" x="{LEFT + width + 8:.0f}" y="{y + 18}">\
{shown(rate)}, 99 % within {shown(p99)} ms</text>"""
