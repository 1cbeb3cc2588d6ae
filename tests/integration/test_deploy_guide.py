"""The guide's systemd part, carried out command by command in a bare root."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import __version__
from tests.helpers.bare_machine import Machine, machine
from tests.helpers.support import ORIGIN, ROOT, SECRET_KEY, beacon, event, eventually, write_sites

GATEWAY = "/opt/personalize-gateway/.venv/bin/personalize-gateway"
GUIDE = (ROOT / "docs/deploy.md").read_text()
AS_FORWARDER = re.search(r"^as_forwarder\(\) \{.*?^\}$", GUIDE, re.MULTILINE | re.DOTALL)[0]


def blocks(section: str) -> list[str]:
    """The shell commands of a section of the guide."""
    text = re.search(rf"^##+ {section}$(.*?)(?=^##|\Z)", GUIDE, re.MULTILINE | re.DOTALL)[1]
    return re.findall(r"```sh\n(.*?)```", text, re.DOTALL)


def carry_out(host: Machine, block: str, **variables: str) -> str:
    settings = "".join(f"{name}={value}\n" for name, value in variables.items())
    return host.sh(f"{AS_FORWARDER}\n{settings}{block}")


def make_repository(folder: Path) -> None:
    """Commit the tree as `v1`, and a `v2` of which the version alone differs."""
    names = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT)
    for name in names.decode().splitlines():
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name, follow_symlinks=False)
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@example.com", "-C", str(folder)]
    init = folder / "gateway/__init__.py"
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm1"], ["tag", "v1"]):
        subprocess.run([*git, *command], check=True)
    init.write_text(re.sub('__version__ = ".*"', '__version__ = "99"', init.read_text()))
    for command in (["commit", "-qam2"], ["tag", "v2"], ["checkout", "-q", "v1"]):
        subprocess.run([*git, *command], check=True)


def install(host: Machine, repository: Path) -> None:
    """Do what the guide does, with the packages of the suite in place of pip's."""
    make_repository(repository)
    shutil.copytree(repository, host.root / "repository", symlinks=True, dirs_exist_ok=True)
    write_sites(host.root / "root/sites.toml")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    host.sh(
        f"""
        git clone -q /repository /opt/personalize-gateway; cd /opt/personalize-gateway
        {sys.base_prefix}/bin/python{version} -m venv --without-pip .venv
        printf '%s\\n' /opt/personalize-gateway /packages \
            >.venv/lib/python{version}/site-packages/suite.pth
        for name in gunicorn personalize-gateway; do
            printf '#!%s\\n' /opt/personalize-gateway/.venv/bin/python >.venv/bin/$name
        done
        echo 'from gunicorn.app.wsgiapp import run; run()' >>.venv/bin/gunicorn
        echo 'import sys; from gateway.cli import main; sys.exit(main())' \
            >>.venv/bin/personalize-gateway
        chmod +x .venv/bin/*; sleep 0.01; touch .venv/.installed
        """
    )
    first, second = blocks("systemd")
    host.sh(first.replace("/path/to/sites.toml", "/root/sites.toml"))
    edit(host)
    host.sh(second)
    host.sh(f"cd /; setsid {GATEWAY} sandbox --port 9000 >/var/log/sandbox 2>&1 &")


def edit(host: Machine) -> None:
    """Edit both files as the guide says, and have the forwarder send to the sandbox."""
    folder = "/etc/personalize-gateway"
    host.sh(
        f"""
        sed -i s/=change-me/={SECRET_KEY}/ {folder}/web.env
        sed -i s/=change-me/=test/ {folder}/forwarder.env
        echo AWS_ENDPOINT_URL_PERSONALIZE_EVENTS=http://127.0.0.1:9000 >>{folder}/forwarder.env
        echo AWS_EC2_METADATA_DISABLED=true >>{folder}/forwarder.env
        echo WEB_CONCURRENCY=1 >>{folder}/web.env
        for name in web forwarder; do echo GATEWAY_MIN_FREE_BYTES=0 >>{folder}/$name.env; done
        """
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("bare")
    with machine(folder / "root") as host:
        install(host, folder / "repository")
        yield host


@pytest.fixture
def host(installed: Machine) -> Machine:
    """The machine, with both services running."""
    eventually(lambda: post(installed) == "204", "the web service answers")
    return installed


def post(host: Machine, item: dict | None = None) -> str:
    body = json.dumps(beacon(item or event()))
    return host.sh(
        f"curl -s -o /dev/null -w '%{{http_code}}' -H 'Origin: {ORIGIN}' -d '{body}' "
        "http://127.0.0.1:8000/events || :"
    )


def let_wait(host: Machine) -> list[str]:
    """Stop the forwarder and let events wait in the queue; their eventIds."""
    host.sh("systemctl stop personalize-gateway-forwarder")
    items = [event() for _ in range(3)]
    assert [post(host, item) for item in items] == ["204"] * 3
    return [item["eventId"] for item in items]


def sent(host: Machine) -> str:
    return host.sh("curl -sS http://127.0.0.1:9000/requests")


def assert_delivered(host: Machine, waiting: list[str]) -> None:
    eventually(lambda: all(one in sent(host) for one in waiting), "they are delivered")


def test_the_guide_installs_two_services_that_deliver(host):
    item = event()
    assert post(host, item) == "204"
    assert_delivered(host, [item["eventId"]])
    links = host.sh("ls /etc/systemd/system/multi-user.target.wants")
    assert "personalize-gateway-web.service" in links
    owners = host.sh("ps -eo user:30,args | grep [g]ateway")
    assert re.search(r"^personalize-web .*gunicorn", owners, re.MULTILINE)
    assert re.search(r"^personalize-forwarder .*forward", owners, re.MULTILINE)


def test_the_guides_check_passes_as_the_forwarder(host):
    assert "✗" not in carry_out(host, "as_forwarder check")


def test_backup_and_restore_keep_what_waits(host):
    waiting = let_wait(host)
    carry_out(host, *blocks("Backup"))
    lost = event()
    post(host, lost)
    host.sh("systemctl start personalize-gateway-forwarder")
    assert_delivered(host, [*waiting, lost["eventId"]])
    host.sh("curl -sS -X DELETE http://127.0.0.1:9000/requests")
    carry_out(host, *blocks("Restore"))
    assert_delivered(host, waiting)  # again, from the backup
    assert lost["eventId"] not in sent(host)
    eventually(lambda: post(host) == "204", "the web service stores events")


def test_upgrade_and_rollback_deliver_what_waits(host):
    for section, tag, version in (("Upgrade", "v2", "99"), ("Rollback", "v1", __version__)):
        waiting = let_wait(host)
        carry_out(host, blocks(section)[0], VERSION=tag)
        assert_delivered(host, waiting)
        assert host.sh(f"{GATEWAY} --version").strip() == version
        eventually(lambda: post(host) == "204", "the web service answers")


def test_rollback_past_a_newer_format_drains_the_queue_first(host):
    waiting = let_wait(host)
    carry_out(host, blocks("Rollback")[1], VERSION="v1", NEWER_VERSION="v2")
    assert_delivered(host, waiting)
    item = event()
    eventually(lambda: post(host, item) == "204", "the web service answers")
    assert_delivered(host, [item["eventId"]])
