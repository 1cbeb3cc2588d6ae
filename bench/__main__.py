"""`make bench`: every measure beside its ceiling, as a table, JSON and a chart in bench/results/.

python -m bench [--quick] [MEASURE ...]
"""

from __future__ import annotations

import argparse
import time
from importlib import import_module

from bench import chart, report
from bench.report import RESULTS, Figure

MEASURES = (
    "accept",
    "comparison",
    "forward",
    "latency",
    "scale",
    "startup",
    "sqs_calls",
    "snippet",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=", ".join(MEASURES))
    parser.add_argument("--quick", action="store_true", help="a tiny round of each; keeps nothing")
    options = parser.parse_args()
    found: list[Figure] = []
    for name in options.measures or MEASURES:
        started = time.monotonic()
        figures = import_module(f"bench.{name}").measure(quick=options.quick)
        print(
            f"\n{name}, in {time.monotonic() - started:.0f} s\n\n{report.table(figures)}",
            flush=True,
        )
        if not options.quick:
            report.save(name, figures)
        found += figures
    if chart.bars(found) and not options.quick:
        (RESULTS / "chart.svg").write_text(chart.svg(found), encoding="utf-8")
    if (compared := chart.comparison(found)) and not options.quick:
        (RESULTS / "comparison.svg").write_text(compared, encoding="utf-8")


if __name__ == "__main__":
    main()
