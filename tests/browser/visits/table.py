"""Print the snippet's column of docs/snippet-faults.md.

python -m tests.browser.visits.table [visits of each]
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.browser.visits import matrix, scenarios
from tests.browser.visits.engines import ENGINES
from tests.browser.visits.matrix import Case

ROWS = {
    "click, then a link inside the site": scenarios.follow_a_link,
    "event, then the tab closes": scenarios.close_the_tab,
    "collector 503 for 5 s, visitor stays": scenarios.meet_503,
    "503, visitor leaves, returns": scenarios.meet_503_and_leave,
    "answer lost after acceptance": scenarios.lose_the_answer,
    "five tabs × 10 events, all closed": scenarios.close_five_tabs,
    "burst of 200 × 1 KB, then leave": scenarios.leave_with_200_kilobytes,
    "renderer killed after an event": scenarios.lose_the_renderer,
}


def main() -> None:
    """Print a row for each scenario: lost % / doubled % of its events, by engine."""
    visits = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    engines = [engine for engine in ENGINES if engine.driver_survives]
    columns = [(engine, cache) for engine in engines for cache in (True, False)]
    cases = [
        Case(engine, cache, scenario, number)
        for engine, cache in columns
        for scenario in ROWS.values()
        for number in range(visits)
    ]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        outcomes = matrix.run(Path(folder), cases)
    heads = [f"{engine.name}{'' if cache else ', no cache'}" for engine, cache in columns]
    print("|".join(["", " scenario ", *(f" {head} " for head in heads), ""]))
    for name, scenario in ROWS.items():
        cells = []
        for column in columns:
            total: Counter[str] = Counter()
            for case, outcome in outcomes.items():
                if (case.engine, case.cache) == column and case.scenario is scenario:
                    assert outcome.failure is None, outcome.failure
                    total["all"] += outcome.tracked
                    total["lost"] += len(outcome.verdict.missing)
                    total["doubled"] += len(outcome.verdict.again + outcome.verdict.doubled)
            lost, doubled = (100 * total[what] / total["all"] for what in ("lost", "doubled"))
            cells.append(f" {lost:.3g}/{doubled:.3g} of {total['all']:,} ")
        print("|".join(["", f" {name} ", *cells, ""]))


if __name__ == "__main__":
    main()
