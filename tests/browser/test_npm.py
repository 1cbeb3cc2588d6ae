"""The npm package, packed and installed as projects do: React and Vue under Vite, Next.js, Node.

The three shops of tests/npm/ do the same: a view, a purchase, the next item's view, its purchase.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from gateway import __version__
from gateway.sandbox import Sandbox
from tests.helpers.browsers import chromium, complaints, find
from tests.helpers.support import ORIGIN, ROOT, SITES, Gateway, environment, eventually, write_sites

SOURCES = ROOT / "tests/npm"
CACHE = ROOT / ".cache/npm"
TSC = CACHE / "node_modules/typescript-native/bin/tsc"  # Next.js wants an older one as `typescript`
SLIP = 'pz: track: unknown option \\"itemid\\": did you mean \\"itemId\\"?'


class Shop(NamedTuple):
    """A project of tests/npm/: how it is built, and where its pages are then."""

    build: str
    pages: Path
    environ: tuple[tuple[str, str], ...] = ()


SHOPS = {
    # React's strict mode runs effects twice in development builds only.
    "react": Shop(
        "vite build --mode development", CACHE / "react/dist", (("NODE_ENV", "development"),)
    ),
    "vue": Shop("vite build", CACHE / "vue/dist"),
    "next": Shop("next build --turbopack", CACHE / "next/out"),
    "fresh": Shop("vite build", CACHE / "fresh/dist"),
}


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


class Visitor:
    """A browser, the shops' addresses, and the gateway that takes their events."""

    def __init__(
        self, projects: Path, browser: Chrome, gateway: Gateway, origins: dict[str, str]
    ) -> None:
        self.projects = projects
        self.browser = browser
        self.gateway = gateway
        self.origins = origins

    def enter(self, name: str) -> None:
        """Build a shop for this gateway, and open its first page as a new visitor."""
        shop = SHOPS[name]
        shutil.rmtree(shop.pages, ignore_errors=True)
        program, *options = shop.build.split()
        addresses = {"VITE_GATEWAY": self.gateway.url, "NEXT_PUBLIC_GATEWAY": self.gateway.url}
        run(
            self.projects / "node_modules/.bin" / program, *options, cwd=self.projects / name,
            **addresses, **dict(shop.environ),
        )  # fmt: skip
        self.gateway.sandbox.clear()
        self.browser.execute_cdp_cmd("Network.clearBrowserCookies", {})
        self.browser.get(self.origins[name])

    def click(self, name: str) -> None:
        find(self.browser, name).click()

    def complaints(self) -> list[str]:
        """What the console has had to warn of since this was asked last."""
        return complaints(self.browser)

    def warnings(self) -> list[str]:
        """The same, once there is any."""
        return eventually(self.complaints, "the console warns")

    def seen(self) -> list[tuple[str, str]]:
        """The events that arrived: types and items."""
        return [(event["eventType"], event["itemId"]) for event in self.gateway.sandbox.events()]

    def await_session(self, text: str) -> None:
        """Wait until the page shows this session and user."""
        shown = find(self.browser, "session")
        eventually(lambda: shown.text == text, f"the page shows the session {text}")

    def buy_both(self) -> None:
        """Buy the mug and then the cup; each of the four events arrives once."""
        expected = [("view", "mug"), ("purchase", "mug"), ("view", "cup"), ("purchase", "cup")]
        self.click("buy")
        eventually(lambda: len(self.seen()) >= 2, "the mug is bought")
        self.click("next")
        eventually(lambda: "Buy the cup" in self.browser.page_source, "the cup is shown")
        self.click("buy")
        eventually(lambda: expected[3] in self.seen(), "the cup is bought")
        assert self.seen() == expected
        events = self.gateway.sandbox.events()
        assert {event["userId"] for event in events} == {"u-17"}
        assert len({event["sessionId"] for event in events}) == 1
        assert json.loads(events[1]["properties"]) == {"colour": "blue", "gift": "true"}


@pytest.fixture(scope="module")
def visitor(projects: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    folder = tmp_path_factory.mktemp("gateway")
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(port=0))
        origins = {name: stack.enter_context(served(shop.pages)) for name, shop in SHOPS.items()}
        gateway = Gateway(folder, environment(folder), sandbox)
        listed = SITES.replace(f'"{ORIGIN}"', ", ".join(f'"{url}"' for url in origins.values()))
        write_sites(folder / "sites.toml", listed)
        stack.callback(gateway.stop)
        gateway.start()
        browser = stack.enter_context(chromium(folder / "profile"))
        yield Visitor(projects, browser, gateway, origins)


def test_three_lines_in_a_fresh_vite_project_send_an_event(visitor: Visitor) -> None:
    example = re.search(
        r"```ts\n(import \{ init, .*?)```", (ROOT / "docs/npm.md").read_text(), re.S
    )
    assert example
    lines = example[1].replace("https://events.example.com", visitor.gateway.url)
    assert len(lines.split("\n")) == 3 + len(["blank", "end"])
    (visitor.projects / "fresh/main.ts").write_text(lines)
    visitor.enter("fresh")
    eventually(lambda: visitor.seen() == [("view", "mug")], "the event arrives")


def test_react_tracks_each_event_once_under_strict_mode_and_says_what_is_wrong(
    visitor: Visitor,
) -> None:
    visitor.enter("react")
    visitor.buy_both()
    tags = visitor.browser.find_elements(By.CSS_SELECTOR, "script[data-site]")
    assert len(tags) == 1, "the script is loaded once"
    assert visitor.complaints() == []
    before = visitor.gateway.sandbox.events()[0]["sessionId"]
    visitor.await_session(f"{before} of u-17")
    visitor.click("slip")
    [line] = visitor.warnings()
    assert SLIP in line
    visitor.click("log-out")
    visitor.click("buy")
    bought = eventually(lambda: visitor.gateway.sandbox.events()[5:], "somebody else buys")
    assert [(event["eventType"], event["userId"]) for event in bought] == [("purchase", None)]
    after = bought[0]["sessionId"]
    visitor.await_session(f"{after} of nobody")
    assert after != before


def test_next_renders_on_the_server_and_warns_of_misuse_once_it_is_asked_to(
    visitor: Visitor,
) -> None:
    visitor.enter("next")
    assert "Buy the" in (SHOPS["next"].pages / "index.html").read_text()
    visitor.buy_both()
    slips = 0

    def slip() -> bool:
        nonlocal slips
        visitor.click("slip")
        slips += 1
        return SLIP in "".join(visitor.complaints())

    assert not slip()
    visitor.click("debug")
    eventually(slip, "the console warns")
    events = visitor.gateway.sandbox.events
    eventually(lambda: len(events()) == 4 + slips, "no event is left for the next test to see")


def test_a_production_build_in_vue_has_no_warnings_in_it(visitor: Visitor) -> None:
    visitor.enter("vue")
    scripts = [path.read_text() for path in SHOPS["vue"].pages.rglob("*.js")]
    assert any("data-testid" in script for script in scripts)
    assert not any("unknown option" in script for script in scripts)
    visitor.buy_both()
    # A page that has the snippet, by whatever means, may load the warnings from the gateway.
    visitor.browser.execute_async_script(
        "const [url, done] = arguments;"
        "import(url).then(({ watch }) => { watch(); pz('track', 'click', { itemid: 'mug' }) })"
        ".then(done)",
        f"{visitor.gateway.url}/static/npm/misuse.js",
    )
    assert SLIP in "".join(visitor.warnings())


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
        ("import {track} from 'personalize-gateway'\ntrack('view')", 200),
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
    projects: Path, tmp_path: Path, project: str
) -> None:
    if project == "typed":
        (projects / "typed/events.d.ts").write_text(_types_of_a_shop(tmp_path))
    if project == "docs":
        text = (ROOT / "docs/npm.md").read_text()
        examples = re.findall(r"^```(tsx?)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        for number, (language, example) in enumerate(examples):
            (projects / f"docs/{number}.{language}").write_text(example)
    run("node", TSC, "--project", project, cwd=projects)


def _types_of_a_shop(folder: Path) -> str:
    """What `types` prints for a shop with two event types and two columns of its own."""
    fields = [
        {"name": "ITEM_ID", "type": "string"},
        {"name": "COLOUR", "type": ["null", "string"]},
        {"name": "BASKET_SIZE", "type": "int"},
    ]
    (folder / "interactions.json").write_text(json.dumps({"type": "record", "fields": fields}))
    environ = environment(folder)
    keys = 'event_types = ["view", "purchase"]\nschema = "interactions.json"\n\n[sites.media]'
    write_sites(folder / "sites.toml", SITES.replace("[sites.media]", keys))
    return run(sys.executable, "-m", "gateway", "types", "shop", cwd=ROOT, **environ)


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
