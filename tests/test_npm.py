"""The npm package, packed and installed as projects do: React and Vue under Vite, Next.js, Node.

The three shops of tests/npm/ do the same: a view, a purchase, the next item's view, its purchase.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import pytest
from selenium.webdriver import Chrome

from gateway import __version__

from .browser import chromium, complaints, find
from .support import ORIGIN, ROOT, SITES, Gateway, eventually, write_sites

SOURCES = ROOT / "tests/npm"
CACHE = ROOT / ".cache/npm"
DEVELOPERS_ONLY = "unknown option"  # a text of misuse.js


class Shop(NamedTuple):
    """A project of tests/npm/: how it is built, and where its pages are then."""

    name: str
    build: str
    pages: str = "dist"
    environ: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return self.name


# React's strict mode runs effects twice in development builds only.
REACT = Shop("react", "vite build --mode development", environ=(("NODE_ENV", "development"),))
VUE = Shop("vue", "vite build")
NEXT = Shop("next", "next build --turbopack", pages="out")


def run(*command: str | Path, cwd: Path, **environ: str) -> str:
    """Run a program to its end; what it printed."""
    quiet = {"NO_COLOR": "1", "NEXT_TELEMETRY_DISABLED": "1"}
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **quiet, **environ}, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The projects, with the package as it would be published; npm's other packages are kept."""
    shutil.copytree(SOURCES, CACHE, dirs_exist_ok=True)
    folder = tmp_path_factory.mktemp("package")
    run("npm", "pack", f"--pack-destination={folder}", cwd=ROOT / "static")
    [package] = folder.iterdir()
    assert package.name == f"personalize-gateway-{__version__}.tgz"
    shutil.rmtree(CACHE / "node_modules/personalize-gateway", ignore_errors=True)
    options = ["--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"]
    run("npm", "install", "--prefer-offline", *options, package, cwd=CACHE)
    return CACHE


def built(shop: Shop, projects: Path, gateway: str, **environ: str) -> Path:
    """Build a shop for this gateway; the folder of its pages."""
    folder = projects / shop.name
    for stale in (".next", shop.pages):
        shutil.rmtree(folder / stale, ignore_errors=True)
    program, *options = shop.build.split()
    addresses = {"VITE_GATEWAY": gateway, "NEXT_PUBLIC_GATEWAY": gateway}
    run(
        projects / "node_modules/.bin" / program, *options, cwd=folder,
        **addresses, **{**dict(shop.environ), **environ},
    )  # fmt: skip
    return folder / shop.pages


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of these files, on an origin of their own."""

    class Files(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=folder)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def visit(pages: Path, gateway: Gateway, folder: Path) -> Iterator[Chrome]:
    """A browser on the shop's first page, whose events the gateway takes."""
    with served(pages) as origin, chromium(folder / "profile") as browser:
        write_sites(folder / "sites.toml", SITES.replace(ORIGIN, origin))
        gateway.start()
        browser.get(origin)
        yield browser


def seen(gateway: Gateway) -> list[tuple[str, str]]:
    return [(event["eventType"], event["itemId"]) for event in gateway.sandbox.events()]


def buy_both(browser: Chrome, gateway: Gateway) -> None:
    """Buy the mug and then the cup; each of the four events arrives once."""
    expected = [("view", "mug"), ("purchase", "mug"), ("view", "cup"), ("purchase", "cup")]
    find(browser, "buy").click()
    eventually(lambda: seen(gateway) == expected[:2], f"the mug is bought: {seen(gateway)}")
    find(browser, "next").click()
    eventually(lambda: "cup" in browser.page_source, "the cup is shown")
    find(browser, "buy").click()
    eventually(lambda: expected[3] in seen(gateway), "the cup is bought")
    events = gateway.sandbox.events()
    assert seen(gateway) == expected
    assert {(event["userId"], event["trackingId"]) for event in events} == {
        ("u-17", events[0]["trackingId"])
    }
    assert len({event["sessionId"] for event in events}) == 1
    assert json.loads(events[1]["properties"]) == {"colour": "blue", "gift": "true"}


def test_react_tracks_each_event_once_under_strict_mode_and_says_what_is_wrong(
    projects: Path, gateway: Gateway, tmp_path: Path
) -> None:
    pages = built(REACT, projects, gateway.url)
    with visit(pages, gateway, tmp_path) as browser:
        buy_both(browser, gateway)
        # Until the snippet has pz('session', …), it says so.
        assert [line for line in complaints(browser) if '"session"' not in line] == []
        find(browser, "slip").click()
        [line] = eventually(lambda: complaints(browser), "the console warns")
        assert 'pz: track: unknown option \\"itemid\\": did you mean \\"itemId\\"?' in line
        find(browser, "log-out").click()
        find(browser, "buy").click()
        bought = eventually(lambda: gateway.sandbox.events()[5:], "somebody else buys")
        assert [(event["eventType"], event["userId"]) for event in bought] == [("purchase", None)]
        assert bought[0]["sessionId"] != gateway.sandbox.events()[0]["sessionId"]


@pytest.mark.parametrize("shop", [VUE, NEXT], ids=str)
def test_a_production_build_tracks_each_event_once_and_has_no_warnings_in_it(
    projects: Path, gateway: Gateway, tmp_path: Path, shop: Shop
) -> None:
    pages = built(shop, projects, gateway.url)
    scripts = [path.read_text() for path in pages.rglob("*.js")]
    assert any("data-testid" in script for script in scripts)
    assert not any(DEVELOPERS_ONLY in script for script in scripts)
    assert shop != NEXT or "Buy the" in (pages / "index.html").read_text(), "rendered on a server"
    with visit(pages, gateway, tmp_path) as browser:
        buy_both(browser, gateway)


def test_expect_event_finds_what_putevents_accepted(projects: Path, gateway: Gateway) -> None:
    gateway.start()
    properties = {"colour": "blue", "size": 2}
    given = {"eventType": "purchase", "itemId": "mug", "eventValue": 24, "sentAt": 1_763_880_000}
    [event_id] = gateway.assert_accepted(
        {"eventId": "e-1", **given, "properties": properties, "impression": ["mug", "cup"]},
        userId="u-17", sessionId="s-1",
    )  # fmt: skip

    def expect(*arguments: str, **event: Any) -> str:
        options = [gateway.sandbox.url, json.dumps(event), *arguments]
        return run("node", "expect.mjs", *options, cwd=projects)

    missing = expect("200", itemId="cup")
    assert "No event like" in missing
    assert event_id in missing or "none" in missing
    wanted = {**given, "userId": "u-17", "properties": properties, "impression": ["mug", "cup"]}
    assert json.loads(expect(**wanted))["sessionId"] == "s-1"
    assert gateway.sandbox.requests() == [], "cleared"


def test_everything_may_be_called_on_a_server(projects: Path) -> None:
    run("node", "server.mjs", cwd=projects)


@pytest.mark.parametrize(
    ("script", "most"),
    [
        ("import 'personalize-gateway'", 0),
        ("import {track} from 'personalize-gateway'\ntrack('view')", 250),
    ],
    ids=["nothing", "track"],
)
def test_a_bundle_has_only_what_it_imports(projects: Path, script: str, most: int) -> None:
    bundled = subprocess.run(
        [projects / "node_modules/.bin/esbuild", "--bundle", "--minify", "--format=esm"],
        input=script, capture_output=True, text=True, cwd=projects,
    )  # fmt: skip
    assert bundled.returncode == 0, bundled.stderr
    assert len(bundled.stdout.strip()) <= most, bundled.stdout


@pytest.mark.parametrize("project", ["react", "next", "vue", "tag", "typed", "docs"])
def test_typescript_takes_the_projects_strictly(
    projects: Path, gateway: Gateway, tmp_path: Path, project: str
) -> None:
    if project == "typed":
        _print_types(gateway, tmp_path, projects / "typed/events.d.ts")
    if project == "docs":
        text = (ROOT / "docs/npm.md").read_text()
        examples = re.findall(r"^```(tsx?)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        for number, (language, example) in enumerate(examples):
            (projects / f"docs/{number}.{language}").write_text(example)
    tsc = projects / "node_modules/typescript-native/bin/tsc"
    run("node", tsc, "--project", project, cwd=projects)


def _print_types(gateway: Gateway, folder: Path, path: Path) -> None:
    """Print the types of a shop with two event types and two columns of its own into a file."""
    fields = [
        {"name": "ITEM_ID", "type": "string"},
        {"name": "COLOUR", "type": ["null", "string"]},
        {"name": "BASKET_SIZE", "type": "int"},
    ]
    (folder / "interactions.json").write_text(json.dumps({"type": "record", "fields": fields}))
    keys = 'event_types = ["view", "purchase"]\nschema = "interactions.json"\n\n[sites.media]'
    write_sites(folder / "sites.toml", SITES.replace("[sites.media]", keys))
    printed = gateway.operate("types", "shop")
    assert printed.returncode == 0, printed.stderr
    path.write_text(printed.stdout)


def test_the_package_is_of_the_gateways_release_and_under_its_licence() -> None:
    package = json.loads((ROOT / "static/package.json").read_text())
    assert package["version"] == __version__
    assert (ROOT / "static/LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_the_warnings_know_every_option_that_the_types_have() -> None:
    types = (ROOT / "static/pz.d.ts").read_text() + (ROOT / "static/npm/index.d.ts").read_text()
    misuse = (ROOT / "static/npm/misuse.js").read_text()
    for call, interface in {
        "init": "InitOptions",
        "track": "PzTrackOptions",
        "identify": "PzIdentifyOptions",
    }.items():
        body = re.search(rf"interface {interface}\b.*?\{{(.*?)^\}}", types, re.M | re.S)
        known = re.search(rf"^  {call}: \[(.*)\]", misuse, re.M)
        assert body
        assert known
        members = re.findall(r"^  (\w+)\??:", body[1], re.M)
        assert set(re.findall(r"'(\w+)'", known[1])) == set(members), call
