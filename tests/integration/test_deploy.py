"""The recipes of `deploy/`: linted by the tools of their trade, and carried out."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests
import yaml

from gateway.sandbox import Sandbox
from tests.helpers.recipes import BIN, DEPLOY, Image, environment, running, unit
from tests.helpers.support import (
    ORIGIN,
    ROOT,
    SECRET_KEY,
    beacon,
    children,
    event,
    eventually,
    free_port,
    write_sites,
)
from tests.integration.test_reload import Load

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
EXPOSURE = 20  # tenths, of systemd-analyze's scale to 100


def assert_delivers(port: int, sandbox: Sandbox) -> None:
    """What is posted to this port arrives."""
    url = f"http://127.0.0.1:{port}/events"
    item = event()
    answer = eventually(lambda: _posted(url, item), "it is accepted", 30)
    assert answer.status_code == 204, answer.text

    def arrived() -> int:
        return [one["eventId"] for one in sandbox.events()].count(item["eventId"])

    eventually(arrived, "it is delivered", 30)
    assert arrived() == 1


def _posted(url: str, item: dict[str, object]) -> requests.Response | None:
    try:
        return requests.post(url, json=beacon(item), headers={"Origin": ORIGIN}, timeout=30)
    except requests.ConnectionError:
        return None


def assert_knows_no_credentials(master: int) -> None:
    """Neither the process nor its children have AWS's in their environment."""
    for pid in [master, *children(master)]:
        assert b"AWS_" not in Path(f"/proc/{pid}/environ").read_bytes()


@pytest.mark.parametrize("name", ["web", "forwarder"])
def test_systemd_finds_nothing_wrong_with_a_unit_and_little_that_it_may_do(tmp_path, name):
    path = tmp_path / f"personalize-gateway-{name}.service"
    text = (DEPLOY / "systemd" / path.name).read_text()
    text = text.replace("/opt/personalize-gateway/.venv/bin", str(BIN))
    path.write_text(text.replace("/opt/personalize-gateway", str(ROOT)))
    for command in (
        ["systemd-analyze", "verify", path],
        ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", path],
    ):
        run = subprocess.run(command, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout + run.stderr
        assert run.stderr == ""


def test_the_systemd_units_share_a_queue_and_only_one_of_them_has_credentials(tmp_path, sandbox):
    for folder in ("etc/personalize-gateway", "var/lib/personalize-gateway"):
        (tmp_path / folder).mkdir(parents=True)
    write_sites(tmp_path / "etc/personalize-gateway/sites.toml")
    port = str(free_port())
    web, forwarder = unit("web", tmp_path), unit("forwarder", tmp_path)
    assert web["User"] != forwarder["User"]
    assert web["Group"] == forwarder["Group"]
    files = DEPLOY / "systemd"
    assert web["EnvironmentFile"].endswith("/web.env")
    assert forwarder["EnvironmentFile"].endswith("/forwarder.env")
    with (
        running(
            web["ExecStart"].replace("8000", port).split(),
            Path(web["WorkingDirectory"]),
            {**environment(files / "web.env", tmp_path), "GATEWAY_SECRET_KEY": SECRET_KEY},
            int(web["UMask"], 8),
        ) as master,
        running(
            forwarder["ExecStart"].split(),
            Path(forwarder["WorkingDirectory"]),
            {
                **environment(files / "forwarder.env", tmp_path),
                "AWS_ENDPOINT_URL_PERSONALIZE_EVENTS": sandbox.url,
                "AWS_EC2_METADATA_DISABLED": "true",
            },
            int(forwarder["UMask"], 8),
        ),
    ):
        assert_delivers(int(port), sandbox)
        assert_knows_no_credentials(master.pid)
        for path in (tmp_path / "var/lib/personalize-gateway").iterdir():
            with suppress(FileNotFoundError):  # a draft that has its final name now
                assert stat.S_IMODE(path.stat().st_mode) in (0o660, 0o2660), path


def test_the_guide_runs_check_with_what_the_forwarders_unit_has():
    guide = (ROOT / "docs/deploy.md").read_text()
    command = guide.split("systemd-run ")[1].split("```")[0]
    text = (DEPLOY / "systemd/personalize-gateway-forwarder.service").read_text()
    for key in ("User", "Group", "UMask", "EnvironmentFile"):
        value = re.search(rf"^{key}=(.*)$", text, re.MULTILINE)
        assert value
        assert f"--property={key}={value[1]}" in command.split()


def test_the_dockerfile_and_the_compose_file_pass_their_linters():
    for command in (
        ["hadolint", "deploy/Dockerfile"],
        ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", "deploy/compose.yaml"],
    ):
        run = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True)
        assert run.returncode == 0, run.stdout.decode() + run.stderr.decode()


def test_what_the_dockerfile_builds_runs_as_the_compose_file_says(tmp_path, sandbox):
    image = Image(tmp_path / "image")
    assert image.user == "10001:10001"
    (tmp_path / "image/etc/personalize-gateway").mkdir(parents=True)
    write_sites(tmp_path / "image/etc/personalize-gateway/sites.toml")
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    web, forwarder = services["web"], services["forwarder"]
    assert (web["env_file"], forwarder["env_file"]) == ("web.env", "forwarder.env")
    assert all(
        service["read_only"] and service["tmpfs"] == ["/tmp"] for service in (web, forwarder)
    )
    environ = {**image.environ, "PORT": str(free_port())}
    metrics_port = str(free_port())
    folder = image.root / "app"
    with (
        running(
            [*read_only(folder), *image.command],
            folder,
            {**environ, **web["environment"], "GATEWAY_SECRET_KEY": SECRET_KEY},
        ) as master,
        running(
            [
                *read_only(folder),
                *(word.replace("9100", metrics_port) for word in forwarder["command"]),
            ],
            folder,
            {
                **environ,
                **CREDENTIALS,
                "AWS_ENDPOINT_URL_PERSONALIZE_EVENTS": sandbox.url,
                "AWS_EC2_METADATA_DISABLED": "true",
            },
        ),
    ):
        assert_delivers(int(environ["PORT"]), sandbox)
        assert_knows_no_credentials(master.pid)
        test = forwarder["healthcheck"]["test"]
        for command in (image.health_check, test[1:]):
            here = [word.replace("9100", metrics_port) for word in command]
            subprocess.run(here, env=environ, check=True)


def read_only(folder: Path) -> list[str]:
    """Return the start of a command to which this folder is read-only."""
    script = 'mount --bind "$0" "$0"; mount -o remount,ro,bind "$0"; cd "$0"; exec "$@"'
    return ["/usr/bin/unshare", "--mount", "/bin/sh", "-euc", script, str(folder)]


def test_the_image_has_the_wheel_and_what_the_lock_pins():
    steps = (DEPLOY / "Dockerfile").read_text()
    build, final = steps.split("\n\nFROM ")
    assert "--require-hashes --requirement requirements.lock" in build
    assert "--no-deps --no-index dist/*.whl" in build
    assert re.findall("^COPY .*", final, re.MULTILINE) == ["COPY --from=build /app/.venv .venv"]


def test_without_a_container_engine_the_image_script_fails_with_one_line(tmp_path):
    for name in ("bash", "dirname"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    run = subprocess.run(
        [DEPLOY / "build-image.sh"], env={"PATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == ("build-image.sh: no engine found: install podman, buildah or docker\n")


@contextmanager
def nginx(folder: Path, gateway_port: int) -> Iterator[str]:
    """Debian's nginx as a shop's server, with the recipe in it; its address."""
    port = free_port()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-subj", "/CN=shop", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    recipe = (
        (DEPLOY / "nginx.conf").read_text().replace("127.0.0.1:8000", f"127.0.0.1:{gateway_port}")
    )
    (folder / "gateway.conf").write_text(recipe)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    (folder / "nginx.conf").write_text(f"""
        daemon off;
        {"user root;" if os.geteuid() == 0 else ""}
        pid {folder}/nginx.pid;
        error_log {folder}/error.log;
        events {{ }}
        http {{
            access_log off;
            {" ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)}
            server {{
                listen 127.0.0.1:{port} ssl;
                ssl_certificate {folder}/cert.pem;
                ssl_certificate_key {folder}/key.pem;
                location / {{ return 200 "the shop"; }}
                include {folder}/gateway.conf;
            }}
        }}
        """)
    command = ["nginx", "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log"]
    with subprocess.Popen(["/usr/sbin/nginx", *command[1:]]) as process:
        try:
            yield f"https://127.0.0.1:{port}"
        finally:
            process.terminate()


def test_behind_nginx_on_the_shops_own_domain_it_is_first_party(gateway, tmp_path, monkeypatch):
    gateway.start(GATEWAY_TRUSTED_PROXIES="1")
    with nginx(tmp_path, gateway.port) as shop:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "cert.pem"))
        gateway.url = f"{shop}/g"
        script = eventually(lambda: _got(f"{gateway.url}/static/pz.js"), "nginx answers")
        assert script.status_code == 200
        answer = gateway.post(beacon(item := event()))
        assert answer.status_code == 204, answer.text
        cookie = answer.headers["Set-Cookie"]
        assert {"Path=/g/", "Secure", "HttpOnly"} <= set(cookie.split("; "))
        gateway.assert_delivered([item["eventId"]])
        large = gateway.post(b"x" * 500_000)
        assert large.status_code == 413
        assert "x-amzn-ErrorType" in large.headers  # the gateway's own answer
        with Load(gateway) as load:
            workers = gateway.workers()
            os.kill(gateway.master, signal.SIGHUP)
            eventually(lambda: not set(workers) & set(gateway.workers()), "they are replaced", 60)
        assert load.lost == []
        gateway.assert_delivered(load.accepted)
    environ = {**gateway.environ, "GATEWAY_PUBLIC_URL": f"{shop}/g"}
    tag = subprocess.run([BIN / "personalize-gateway", "snippet", "shop"], cwd=ROOT, env=environ,
                         capture_output=True, text=True, check=True).stdout  # fmt: skip
    assert f'src="{shop}/g/static/pz-core.' in tag


def _got(url: str) -> requests.Response | None:
    try:
        return requests.get(url, timeout=30)
    except requests.ConnectionError:
        return None
