"""Wheel and sdist, installed into empty environments: every command works from any folder.

`ROOT` is named in building alone; what is installed runs elsewhere, without the checkout.
"""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path

import pytest
import requests
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from gateway import __version__
from gateway.sandbox import Sandbox
from tests.helpers.support import ROOT, beacon, event, eventually, free_port
from tests.unit.test_licences import installed as installed_with

LOCK = ROOT / "requirements.lock"
UV = [str(Path(sys.executable).with_name("uv")), "--quiet"]
ORIGIN = "https://shop.example.com"  # of the sites file that `init` writes
# Of the npm package alone.
NOT_SHIPPED = re.compile(r"static/(package\.json|README\.md|LICENSE)")


def locked() -> dict[str, set[str]]:
    """The versions in requirements.lock; some Pythons may have others."""
    pins: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", LOCK.read_text(), re.M):
        pins.setdefault(canonicalize_name(name), set()).add(version)
    return pins


class Installed:
    """An environment with the gateway in it, and an empty folder to run it in."""

    def __init__(self, root: Path, package: Path) -> None:
        self.package = package
        self.bin = root / "venv/bin"
        self.folder = root / "folder"
        self.folder.mkdir(parents=True)
        self.environ = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "HOME": str(root),
            "WEB_CONCURRENCY": "1",
            "GATEWAY_MIN_FREE_BYTES": "0",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        _run([*UV, "venv", "--python", sys.executable, str(root / "venv")])
        _run([*UV, "pip", "install", "--python", str(self.bin / "python"), str(package)])

    def run(self, *command: str, status: int = 0) -> str:
        """Run a command of the environment; its output."""
        run = subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=self.folder, env=self.environ, timeout=60, capture_output=True, text=True,
        )  # fmt: skip
        assert run.returncode == status, run.stdout + run.stderr
        assert "Traceback" not in run.stderr
        return run.stdout

    def gateway(self, *arguments: str, status: int = 0) -> str:
        return self.run("personalize-gateway", *arguments, status=status)

    def files(self) -> dict[str, bytes]:
        """The installed package's files, by their names in it."""
        code = "import gateway; print(*gateway.__path__)"
        package = Path(self.run("python", "-c", code).strip())
        assert ROOT not in package.parents
        paths = [path for path in package.rglob("*") if path.suffix != ".pyc" and path.is_file()]
        return {str(path.relative_to(package)): path.read_bytes() for path in paths}

    @contextmanager
    def running(self, *command: str, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
        """A service, ended at the end."""
        program = [str(self.bin / command[0]), *command[1:]]
        with subprocess.Popen(program, cwd=self.folder, env={**self.environ, **environ}) as process:
            try:
                yield process
            finally:
                process.terminate()


def _run(command: list[str]) -> None:
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stdout + run.stderr


def _got(url: str) -> requests.Response | None:
    try:
        return requests.get(url, timeout=30)
    except requests.ConnectionError:
        return None


def _answer(url: str) -> requests.Response:
    return eventually(lambda: _got(url), f"{url} answers")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What `make dist` builds; the wheel is made from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    _run([str(ROOT / "tools/build_dist.sh"), sys.prefix, str(folder)])
    kinds = {"wheel": "*.whl", "sdist": "*.tar.gz", "npm": "*.tgz", "sbom": "*.cdx.json"}
    found = {kind: list(folder.glob(pattern)) for kind, pattern in kinds.items()}
    assert sum(map(len, found.values())) == len(list(folder.iterdir())) == len(kinds)
    return {kind: paths[0] for kind, paths in found.items()}


@pytest.fixture(scope="module")
def installed(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("wheel"), built["wheel"])


@pytest.fixture
def initialised(installed: Installed, tmp_path: Path) -> Installed:
    """What is installed, in a folder in which `init` ran."""
    installed.folder = tmp_path
    installed.gateway("init")
    return installed


def deliver_to(sandbox: Sandbox) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL_PERSONALIZE_EVENTS": sandbox.url,
        "AWS_ACCESS_KEY_ID": "sandbox",
        "AWS_SECRET_ACCESS_KEY": "sandbox",
    }


def assert_delivers(url: str, sandbox: Sandbox) -> None:
    """What a page posts there arrives at PutEvents."""
    item = event()
    answer = requests.post(
        f"{url}/events", json=beacon(item), headers={"Origin": ORIGIN}, timeout=30
    )
    assert answer.status_code == 204, answer.text

    def arrived() -> bool:
        return item["eventId"] in [one["eventId"] for one in sandbox.events()]

    eventually(arrived, "it is delivered")


def test_both_packages_have_every_file_of_the_package(built: dict[str, Path]) -> None:
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "gateway", "static"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    expected = {
        re.sub("^static/", "gateway/static/", name)
        for name in listing
        if not NOT_SHIPPED.match(name)
    } - {"gateway/static"}  # the link
    wheel = set(zipfile.ZipFile(built["wheel"]).namelist())
    shipped = {name for name in wheel if name.startswith("gateway/")}
    assert shipped == expected
    with tarfile.open(built["sdist"]) as sdist:
        names = {member.name.partition("/")[2] for member in sdist if member.isfile()}
    assert expected | {"wsgi.py", "gunicorn.conf.py", "Procfile", "docs/settings.md"} <= names


def test_the_sbom_lists_what_the_lock_installs_with_licences(built: dict[str, Path]) -> None:
    text = built["sbom"].read_text()
    assert "file:" not in text
    bom = json.loads(text)
    assert bom["bomFormat"] == "CycloneDX"
    components = {canonicalize_name(one["name"]): one for one in bom["components"]}
    assert components.pop("personalize-gateway")["version"] == __version__
    pins = locked()
    for name, one in components.items():
        assert one["version"] in pins[name], name
    assert {"boto3", "flask", "gunicorn", "orjson"} <= set(components)
    assert "MPL-2.0" in json.dumps(components["tqdm"]["licenses"])


def test_the_lock_satisfies_setup_cfg_with_a_hash_for_every_file() -> None:
    pins = locked()
    for found in installed_with("personalize-gateway"):
        assert found.name == "personalize-gateway" or canonicalize_name(found.name) in pins
    for line in distribution("personalize-gateway").requires or []:
        needed = Requirement(line)
        if needed.marker is None:
            pinned = pins.get(canonicalize_name(needed.name), set())
            assert pinned, f"{line}: not in requirements.lock; run `make lock`"
            assert all(map(needed.specifier.contains, pinned)), f"{line}: run `make lock`"
    entries = re.split(r"^(?=[\w.-]+==)", LOCK.read_text(), flags=re.M)[1:]
    assert all("--hash=sha256:" in entry for entry in entries)


def test_the_sdist_installs_what_the_wheel_does(
    built: dict[str, Path], installed: Installed, tmp_path: Path
) -> None:
    from_sdist = Installed(tmp_path, built["sdist"])
    assert from_sdist.files() == installed.files()
    assert from_sdist.gateway("--version") == installed.gateway("--version")


def test_init_and_serve_accept_and_deliver_in_an_empty_folder(
    initialised: Installed, sandbox: Sandbox
) -> None:
    assert stat.S_IMODE((initialised.folder / ".env").stat().st_mode) == 0o600
    port = free_port()
    with initialised.running(
        "personalize-gateway", "serve", "--", "--bind", f"127.0.0.1:{port}", **deliver_to(sandbox)
    ):
        url = f"http://127.0.0.1:{port}"
        assert _answer(f"{url}/readyz").status_code == 200
        assert_delivers(url, sandbox)
        tag = initialised.gateway("snippet", "shop")
        [build] = re.findall(r"/static/pz-core\.[0-9a-f]{12}\.js", tag)
        script = requests.get(f"{url}{build}", timeout=30)
        assert script.ok
        assert "immutable" in script.headers["Cache-Control"]
        assert requests.get(f"{url}/static/pz-core.js", timeout=30).content == script.content
        assert json.loads(initialised.gateway("queue", "status", "--json"))["queued"] == 0


def test_every_command_works_where_only_the_package_is(
    initialised: Installed, sandbox: Sandbox
) -> None:
    initialised.environ = {**initialised.environ, **deliver_to(sandbox)}
    gateway = initialised.gateway
    for arguments in (
        ["--version"],
        ["check", "--json"],
        ["queue", "status"],
        ["queue", "verify"],
        ["dead-letters", "list"],
        ["dead-letters", "replay"],
        ["dead-letters", "purge"],
        ["forget", "--site", "shop", "--user", "u-1"],
        ["report", "--json"],
        ["snippet", "shop"],
    ):
        gateway(*arguments)
    gateway("trace", "no-such-event", status=1)
    item = json.dumps([{"eventType": "view", "itemId": "i-9", "sentAt": 1763880000}])
    sending = ["--tracking-id", "shop", "--session-id", "s-1", "--event-list", item]
    gateway("put-events", "--enqueue", *sending)
    gateway("forward", "--once")
    assert len(sandbox.events()) == 1
    assert "personalize-gateway" in initialised.run("python", "-m", "gateway", "--help")


def test_run_serves_demo_inspector_and_sandbox(installed: Installed, tmp_path: Path) -> None:
    """By `uvx`, as somebody does who tries it out."""
    installed.folder = tmp_path
    port = free_port()
    command = [*UV, "tool", "run", "--python", sys.executable, "--from", str(installed.package)]
    with subprocess.Popen(
        [*command, "personalize-gateway", "run", "--port", str(port)],
        cwd=tmp_path,
        env={**os.environ, **installed.environ, "GATEWAY_ADMIN_TOKEN": "token-of-the-suite"},
    ) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            assert _answer(f"{url}/demo/").ok
            assert "log-in" in requests.get(f"{url}/inspect", timeout=30).text
            sandbox = requests.get(f"{url}/demo/config.json", timeout=30).json()["sandboxUrl"]
            assert requests.get(f"{sandbox}/", timeout=30).ok
        finally:
            process.terminate()


def test_the_sandbox_and_bare_gunicorn_start(initialised: Installed) -> None:
    port, web = free_port(), free_port()
    sandbox = f"http://127.0.0.1:{port}"
    (initialised.folder / "exported.sh").write_text('set -a; . ./.env; exec "$@"\n')
    gunicorn = [str(initialised.bin / "gunicorn"), "--bind", f"127.0.0.1:{web}"]
    with initialised.running("personalize-gateway", "sandbox", "--port", str(port)):
        assert "sandbox" in _answer(f"{sandbox}/").text.lower()
    with initialised.running("/bin/sh", "exported.sh", *gunicorn, "gateway.wsgi:app"):
        assert _answer(f"http://127.0.0.1:{web}/static/pz.js").ok
