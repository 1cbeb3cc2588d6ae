"""The snippet's files: pinned for good, compressed beforehand, for pages of any origin."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import brotli
import pytest
from flask.testing import FlaskClient

from gateway.cli import main
from gateway.web.snippet import (
    AUTOMATIC,
    CORE,
    RELEASES,
    STATIC,
    STUB,
    WHOLE,
    integrity,
    newest,
    pinned_name,
    tag,
)
from tests.helpers.support import ROOT

BUILDS = sorted(RELEASES.glob("*.js"))
NEWEST = f"/static/{newest().name}"


@pytest.fixture
def environment_set(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.name)
def test_a_kept_build_is_served_as_it_was_built(client: FlaskClient, build: Path) -> None:
    script = build.read_bytes()
    assert build.name == pinned_name(build.name.split(".")[0], script), "nobody has changed it"
    for encoding, plain in {"gzip": gzip.decompress, "br": brotli.decompress, "": bytes}.items():
        headers = {"Accept-Encoding": encoding}
        with client.get(f"/static/{build.name}", headers=headers) as response:
            assert response.headers.get("Content-Encoding", "") == encoding
            assert response.headers["Vary"] == "Accept-Encoding"
            assert plain(response.data) == script, "compressed from this very build"


@pytest.mark.parametrize("stem", [WHOLE, CORE])
def test_the_newest_build_is_kept(stem: str) -> None:
    assert newest(stem) in BUILDS, "run `make snippet`"


def lost(changes: str) -> list[str]:
    """The releases in that text whose build is not named, or not kept."""
    sections = changes.split("\n## ")[1:]
    sections = [text for text in sections if "unreleased" not in text.splitlines()[0].lower()]
    names = {text.split()[0]: re.search(r"pz\.[0-9a-f]{12}\.js", text) for text in sections}
    kept = {build.name for build in BUILDS}
    return [version for version, name in names.items() if not name or name[0] not in kept]


def test_what_a_release_has_served_stays_served() -> None:
    assert lost((ROOT / "CHANGES.md").read_text()) == []
    unreleased = "\n## Unreleased\n### Added\n## 3 (unreleased)"
    past = f"{unreleased}\n## 2\n{newest().name}\n## 1\npz.000000000000.js\n## 0\n"
    assert lost(past) == ["1", "0"]


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.name)
def test_a_pinned_build_is_cached_for_a_year(client: FlaskClient, build: Path) -> None:
    with client.get(f"/static/{build.name}") as response:
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("encoding", ["identity", "gzip", "gzip, deflate, br, zstd"])
def test_the_unpinned_snippet_is_cached_for_minutes_then_asked_for_by_etag(
    client: FlaskClient, encoding: str
) -> None:
    with client.get("/static/pz.js", headers={"Accept-Encoding": encoding}) as response:
        assert response.status_code == 200
        age = re.fullmatch(r"max-age=(\d+), public", response.headers["Cache-Control"])
        assert age
        assert 0 < int(age[1]) <= 600
    known = {"Accept-Encoding": encoding, "If-None-Match": response.headers["ETag"]}
    with client.get("/static/pz.js", headers=known) as response:
        assert (response.status_code, response.data) == (304, b"")
    with client.get("/static/pz.js", headers={"If-None-Match": '"another"'}) as response:
        assert response.data == newest().read_bytes()


@pytest.mark.parametrize("url", [NEWEST, "/static/pz.js", "/static/pz.d.ts", "/static/nope.js"])
@pytest.mark.parametrize("origin", [None, "https://anybody.example", "null"])
def test_any_page_may_read_a_static_file(client: FlaskClient, url: str, origin: str | None) -> None:
    with client.get(url, headers={"Origin": origin} if origin else {}) as response:
        assert response.headers.getlist("Access-Control-Allow-Origin") == ["*"]
        assert "Access-Control-Allow-Credentials" not in response.headers
        assert response.headers["Cross-Origin-Resource-Policy"] == "cross-origin"


def test_the_unpinned_snippet_is_script_by_its_type(client: FlaskClient) -> None:
    with client.get("/static/pz.js") as response:
        assert response.headers["Content-Type"].startswith("text/javascript")
        assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_an_unknown_build_hash_is_not_found(client: FlaskClient) -> None:
    assert client.get("/static/pz.000000000000.js").status_code == 404


@pytest.mark.parametrize(("auto", "stem"), [((), CORE), (("page",), WHOLE), (AUTOMATIC, WHOLE)])
def test_the_tag_pins_the_newest_build_of_those_that_serve_the_smallest(
    client: FlaskClient, auto: tuple[str, ...], stem: str
) -> None:
    printed = tag("shop", "https://events.example.com/pz", auto)
    address = rf'src="https://events\.example\.com/pz(/static/{stem}\.[0-9a-f]{{12}}\.js)"'
    url = re.search(address, printed)
    assert url
    with client.get(url[1]) as response:
        assert f'integrity="{integrity(response.data)}" crossorigin="anonymous"' in printed
        assert response.data == (STATIC / f"{stem}.js").read_bytes()
    with client.get(f"/static/{stem}.js") as response:
        assert response.data == (STATIC / f"{stem}.js").read_bytes()
    automatic = f' data-auto="{" ".join(auto)}"' if auto else ""
    assert f'data-site="shop"{automatic}\n' in printed
    assert f"<script>{STUB}</script>" in printed


@pytest.mark.parametrize("document", ["README.md", "docs/snippet.md"])
def test_the_documents_show_the_tag_as_it_is_printed(document: str) -> None:
    printed = tag("shop", "https://events.example.com")
    shown = re.sub(r"(?<=pz-core\.)[0-9a-f]{12}|(?<=sha384-)[^\"]+", "…", printed)
    lines = [line.strip() for line in (ROOT / document).read_text().splitlines()]
    wanted = [line.strip() for line in shown.splitlines()]
    assert any(lines[at : at + len(wanted)] == wanted for at in range(len(lines))), shown


@pytest.mark.usefixtures("environment_set")
@pytest.mark.parametrize(
    ("auto", "attribute"),
    [
        ([], ""),
        (["--auto", "page", "click"], "page click"),
        (["--auto", "click,media"], "click media"),
    ],
)
def test_the_command_prints_the_tag_for_what_is_tracked_without_a_call(
    capsys: pytest.CaptureFixture[str], auto: list[str], attribute: str
) -> None:
    assert main(["snippet", "shop", *auto]) == 0
    assert capsys.readouterr().out.count(f' data-auto="{attribute}"') == bool(attribute)


@pytest.mark.usefixtures("environment_set")
def test_the_command_refuses_what_is_never_tracked_without_a_call(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["snippet", "shop", "--auto", "page", "scrolls"]) == 1
    assert "'scrolls'" in capsys.readouterr().err
