"""What the measures find: figures with median and spread, for the terminal and as JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("boto3", "Flask", "gevent", "gunicorn", "marshmallow")


@dataclass(frozen=True)
class Figure:
    """One thing measured, once in each round; a goal is a bound for the median."""

    name: str
    unit: str
    values: Sequence[float]
    at_least: float | None = None
    at_most: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        if self.at_least is not None:
            return self.median >= self.at_least
        return None if self.at_most is None else self.median <= self.at_most

    def goal(self) -> str:
        bounds = (("≥", self.at_least), ("≤", self.at_most))
        return next((f"{sign} {shown(bound)}" for sign, bound in bounds if bound is not None), "")

    def row(self) -> list[str]:
        spread = f"{shown(min(self.values))} – {shown(max(self.values))}"
        verdict = {True: "met", False: "MISSED", None: ""}[self.met]
        return [self.name, shown(self.median), self.unit, spread, self.goal(), verdict]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit,
            "median": self.median,
            "rounds": list(self.values),
            "goal": self.goal() or None,
            "met": self.met,
        }


def shown(value: float) -> str:
    """Three digits that matter, or all of a whole number."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def table(figures: Sequence[Figure]) -> str:
    rows = [["", "median", "", "spread", "goal", ""], *(figure.row() for figure in figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = ("<", ">", "<", ">", "<", "<")
    return "\n".join(
        "  ".join(
            f"{cell:{align}{width}}"
            for cell, align, width in zip(row, aligned, widths, strict=True)
        ).rstrip()
        for row in rows
    )


def save(name: str, figures: Sequence[Figure]) -> None:
    """Keep one measure's figures, with what they were measured on."""
    RESULTS.mkdir(exist_ok=True)
    found = {"machine": machine(), "figures": [figure.to_json() for figure in figures]}
    text = json.dumps(found, indent=2, ensure_ascii=False)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """Where this runs, and with what."""
    cpu = next(
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    )
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "system": platform.release(),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }
