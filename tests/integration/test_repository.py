"""What contributors meet first: CI, issue forms and the contributing guide."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path

import pytest
import yaml

from tests.helpers.support import ROOT

CI = ROOT / ".github/workflows/ci.yml"
FORMS = ROOT / ".github/ISSUE_TEMPLATE"


@pytest.mark.parametrize(
    ("schema", "paths"),
    [
        ("vendor.github-workflows", [CI]),
        ("vendor.github-issue-config", [FORMS / "config.yml"]),
        ("vendor.github-issue-forms", sorted(set(FORMS.glob("*")) - {FORMS / "config.yml"})),
    ],
)
def test_ci_and_issue_forms_are_valid(schema: str, paths: list[Path]) -> None:
    command = [Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema", schema]
    run = subprocess.run([*command, *paths], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_ci_runs_make_on_every_python_of_the_classifiers() -> None:
    jobs = yaml.safe_load(CI.read_text())["jobs"]
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert commands
    for command in commands:
        program, target, *_ = command.split()
        assert program == "make"
        assert target in targets
    classifiers = metadata("personalize-gateway").get_all("Classifier") or []
    pythons = re.findall(r":: Python :: (3\.\d+)$", "\n".join(classifiers), re.M)
    assert jobs["test"]["strategy"]["matrix"]["python"] == pythons


def test_the_contributing_guide_names_files_and_targets_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    for words in re.findall(r"`?make ((?:[a-z]+ ?)+)", text):
        assert set(words.split()) <= targets, words
    for name in re.findall(r"`([\w./-]+\.(?:py|md|cfg|json|ts))`", text):
        assert (ROOT / name).exists() or list((ROOT / "gateway").rglob(name)), name
