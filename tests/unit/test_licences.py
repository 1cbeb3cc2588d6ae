"""What is installed with the gateway has licences that we know, and docs/security.md lists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution

from packaging.requirements import Requirement

from tests.helpers.support import ROOT

PERMISSIVE = {
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "PSF-2.0",
    "ZPL-2.1",
}
# Copyleft of each file: who changes one of their files publishes that file. We change none.
WEAK_COPYLEFT = {"orjson": "MPL-2.0", "tqdm": "MPL-2.0"}
# As those say it who don't use SPDX's names.
SPELLINGS = {
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "The MIT License (MIT)": "MIT",
}


def installed(name: str, extras: frozenset[str] = frozenset()) -> Iterator[Distribution]:
    """A distribution and all that it needs at run time."""
    found = distribution(name)
    yield found
    for line in found.requires or []:
        needed = Requirement(line)
        wanted = [{"extra": extra} for extra in extras] or [{"extra": ""}]
        if needed.marker is None or any(needed.marker.evaluate(extra) for extra in wanted):
            yield from installed(needed.name, frozenset(needed.extras))


def licences(found: Distribution) -> set[str]:
    """All that it names, of which some may be at choice."""
    if expression := found.metadata.get("License-Expression"):
        return _named(expression)
    classifiers = found.metadata.get_all("Classifier") or []
    named = [line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License ::")]
    words = {found.metadata.get("License") or "", *named} - {"", "Dual License"}
    if not words:  # then the first line of its text
        texts = [file for file in found.files or [] if file.name == "LICENSE"]
        words = {text.read_text().partition("\n")[0] for text in texts}
    return {SPELLINGS.get(name, name) for word in words for name in _named(word)}


def _named(expression: str) -> set[str]:
    """An expression's licences, as SPDX and those before it write it."""
    if expression in SPELLINGS:
        return {expression}
    return set(re.split(r" AND | OR ", re.sub("[()]", "", expression)))


def test_the_licences_of_everything_installed_are_known_and_documented() -> None:
    everything = {found.name: licences(found) for found in installed("personalize-gateway")}
    assert len(everything) > 20, "the dependencies' own were found"
    others = {name: told - PERMISSIVE for name, told in everything.items()}
    assert {name: told for name, told in others.items() if told} == {
        name: {licence} for name, licence in WEAK_COPYLEFT.items()
    }
    assert all(everything.values())
    security = (ROOT / "docs/security.md").read_text()
    for licence in set().union(*everything.values()):
        assert licence in security, f"{licence}: not in docs/security.md"
    for name in WEAK_COPYLEFT:
        assert name in security
