"""Libraries whose undocumented behaviour is used have an upper bound, and are within it."""

from __future__ import annotations

from configparser import ConfigParser
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement

from tests.helpers.support import ROOT

# What is used without documentation, or would otherwise change unnoticed:
# - gunicorn, gevent: the attributes of requests and servers in gateway/web/worker.py
# - flask-cors: that it leaves responses with CORS headers alone, for gateway/web/cors.py
# - prometheus-client: its mapped files, in gateway/observability/{counter_file,metrics}.py, and how
#   they are named, in gateway/observability/process_label.py
TESTED = {
    "flask-cors": ">=6.0.5,<7",
    "gevent": ">=24.10.1,<27",
    "gunicorn": ">=27,<28",
    "prometheus-client": ">=0.20,<0.27",
}


@pytest.mark.parametrize("name", TESTED)
def test_setup_bounds_libraries_whose_internals_are_used(name: str) -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options"]["install_requires"].split()
    [requirement] = [item for item in map(Requirement, lines) if item.name == name]
    assert requirement.specifier == Requirement(f"{name}{TESTED[name]}").specifier
    assert version(name) in requirement.specifier
