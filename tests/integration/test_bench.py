"""The benchmarks still measure what there is: a tiny round of each, of which nothing is kept."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers.support import ROOT


@pytest.mark.parametrize("measure", ["forward", "latency"])
def test_a_tiny_round_of_the_bench_ends_with_figures(measure: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", measure],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    assert "median" in run.stdout
    assert f"{measure}, in " in run.stdout
