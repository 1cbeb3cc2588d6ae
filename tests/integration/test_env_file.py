"""`.env` of the working directory, and `init`, which writes one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.settings import load, require_secret_key
from tests.helpers.support import environment


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory, and an environment that is put back at the end."""
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    before = dict(os.environ)
    yield folder
    os.environ.clear()
    os.environ.update(before)


def status(capsys: pytest.CaptureFixture[str]) -> str:
    main(["queue", "status"])
    return capsys.readouterr().err


def test_a_command_reads_the_env_file_of_the_working_directory(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / ".env").write_text(
        "\ufeff# settings\nexport GATEWAY_SITES='nowhere $HOME.toml' # quoted\nGATEWAY_MAX_AGE\n"
    )
    assert "GATEWAY_SITES: nowhere $HOME.toml: No such file" in status(capsys)


def test_the_environment_wins_over_the_env_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.environ.update(environment(folder))
    (folder / ".env").write_text("GATEWAY_SITES=nowhere.toml\nGATEWAY_MAX_AGE=soon\n")
    assert "GATEWAY_MAX_AGE: Not a valid integer." in status(capsys)
    os.environ["GATEWAY_MAX_AGE"] = "60"
    assert status(capsys) == ""


def test_put_events_reads_it_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / ".env").write_bytes(b"A=\xff\n")
    assert main(["put-events", "help"]) == 1
    assert capsys.readouterr().err == "personalize-gateway: .env: not UTF-8\n"


def test_an_unreadable_env_file_gives_a_one_line_error(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".env").write_text("A=b\0c\n")
    assert status(capsys) == "personalize-gateway: .env: embedded null byte\n"

    def refuse(*_arguments: object, **_options: object) -> None:  # permissions do not bind root
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("gateway.commands.env_file.dotenv_values", refuse)
    assert status(capsys) == "personalize-gateway: .env: Permission denied\n"


def test_the_forwarder_beside_gunicorn_has_gunicorns_settings_alone(
    folder: Path,
) -> None:
    (folder / ".env").write_text("GATEWAY_SITES=nowhere.toml\n")
    command = [sys.executable, "-m", "gateway", "forward", "--beside", str(os.getpid())]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert "GATEWAY_SITES: sites.toml: No such file" in run.stderr


def test_init_writes_what_the_gateway_starts_with(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init"]) == 0
    assert re.findall(r"^\d", capsys.readouterr().out, re.M) == ["1", "2", "3"]
    assert (folder / ".env").stat().st_mode & 0o777 == 0o600
    assert main(["queue", "status"]) == 0  # which has read .env
    settings = load(os.environ)
    require_secret_key(settings)
    assert list(settings.sites) == ["shop"]
    for line in re.findall(r"^# (\w+=.*)", (folder / ".env").read_text(), re.M):
        name, _, value = line.partition("=")
        os.environ[name] = value
    load(os.environ)  # the examples are valid as well


@pytest.mark.parametrize("name", [".env", "sites.toml"])
def test_init_overwrites_nothing(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / name).write_text("")
    assert main(["init"]) == 1
    expected = f"personalize-gateway: {name}: exists already; nothing was written\n"
    assert capsys.readouterr().err == expected
    assert [path.name for path in folder.iterdir()] == [name]


def test_init_where_nothing_can_be_written_says_so_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.rmdir()
    assert main(["init"]) == 1
    assert capsys.readouterr().err == "personalize-gateway: sites.toml: No such file or directory\n"
