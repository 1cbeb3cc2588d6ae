"""The documents as one set: nothing missing, nothing stale, and their examples work."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import botocore.session
import pytest
from botocore import xform_name

from gateway import cli
from gateway.reasons import Reason
from gateway.sites import parse_sites
from tests.helpers.support import ROOT, TRACKING_ID, eventually

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


class Example(NamedTuple):
    """A fenced block of a document."""

    document: Path
    language: str
    text: str


def examples(*languages: str) -> list[Example]:
    found = []
    for document in DOCUMENTS:
        for language, text in re.findall(
            r"^ *```(\w+)\n(.*?)^ *```", document.read_text(), re.M | re.S
        ):
            found.append(Example(document, language, text))
    return [one for one in found if one.language in languages]


def command_lines() -> Iterator[list[str]]:
    """The commands of all shell examples, word by word, variables standing for themselves."""
    for example in examples("sh", "bash"):
        text = example.text.replace("\\\n", " ")
        for line in text.splitlines():
            # `$(…)` and a body in quotes over several lines are the shell's to judge.
            if line.count("'") % 2 == 0 and not line.lstrip().startswith("{"):
                words = shlex.split(line, comments=True)
                yield words[: words.index(">")] if ">" in words else words


# --- the examples ---


def test_the_shell_understands_every_example() -> None:
    for example in examples("sh", "bash"):
        run = subprocess.run(["bash", "-n"], input=example.text, capture_output=True, text=True)
        assert run.returncode == 0, (example.document, run.stderr)


def test_every_command_of_an_example_exists_with_its_options() -> None:
    count = 0
    for words in command_lines():
        while words and "=" in words[0]:  # variables for this command
            words.pop(0)
        # AWS CLI's command has a parser of its own.
        if words[:1] == ["personalize-gateway"] and words[1] != "put-events":
            given = ["7" if word.endswith("…") else word for word in words[1:]]
            cli._parser(given[:1]).parse_args(given)
            count += 1
    assert count > 10


def test_every_aws_command_of_an_example_exists_with_its_options() -> None:
    session = botocore.session.get_session()
    count = 0
    for words in command_lines():
        if words[:1] != ["aws"]:
            continue
        model = session.get_service_model(words[1])
        operations = {xform_name(name, "-"): name for name in model.operation_names}
        members = model.operation_model(operations[words[2]]).input_shape.members
        known = {f"--{xform_name(name, '-')}" for name in members} | {"--query"}
        assert {word for word in words[3:] if word.startswith("--")} <= known, words
        for word in words:
            if word.startswith("file://"):
                json.loads((ROOT / word.removeprefix("file://")).read_text())
        count += 1
    assert count > 4


def test_the_sites_files_of_examples_are_valid() -> None:
    for example in examples("toml"):
        text = example.text.replace("8f3b1c5e-…", TRACKING_ID)
        assert parse_sites(_dedented(text), example.document), example.document


def test_json_and_javascript_of_examples_can_be_read(tmp_path: Path) -> None:
    for example in examples("json"):
        json.loads(example.text)
    scripts = [_dedented(one.text) for one in examples("js")]
    (tmp_path / "all.js").write_text("\n;\n".join(f"{{{script}\n}}" for script in scripts))
    run = subprocess.run(["node", "--check", tmp_path / "all.js"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_the_requests_of_examples_are_accepted(gateway) -> None:
    gateway.start()
    request = re.compile(
        r"^curl [^\n]*https://events\.example\.com/events.*?\n\n?(?=\S|\Z)", re.M | re.S
    )
    found = [text for one in examples("sh") for text in request.findall(one.text + "\n\n")]
    assert found
    for request_text in found:
        text = request_text.replace("https://events.example.com", gateway.url)
        text = text.replace("curl -i", "curl -s -o /dev/null -w '%{http_code}'")  # no token
        run = subprocess.run(["bash", "-ec", text], capture_output=True, text=True)
        assert run.stdout == "204", text + run.stderr
    eventually(lambda: len(gateway.sandbox.events()) == len(found), "they are delivered")


def _dedented(text: str) -> str:
    indent = len(text) - len(text.lstrip(" "))
    return "\n".join(line[indent:] for line in text.splitlines())


# --- the references ---


def commands(parser: argparse.ArgumentParser, path: str) -> Iterator[tuple[str, set[str]]]:
    """Every command with its options."""
    nested = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if not nested:
        yield (
            path,
            {name for one in parser._actions for name in one.option_strings} - {"-h", "--help"},
        )
    for one in nested:
        for name, inner in one.choices.items():
            yield from commands(inner, f"{path} {name}")


def test_every_command_and_option_is_in_the_reference_and_none_besides() -> None:
    rows = re.findall(
        r"^\| `(personalize-gateway .*?)` \| (.*) \|$",
        (ROOT / "docs/commands.md").read_text(),
        re.M,
    )
    there = dict(commands(cli._parser(["sandbox"]), "personalize-gateway"))
    assert {name for name, _ in rows} == set(there)
    for name, meaning in rows:
        told = set(re.findall(r"`(--[a-z-]+)", meaning))
        if name.endswith("put-events"):  # its own parser's, which are AWS CLI's
            assert "--enqueue" in told
        else:
            assert told - {"--cli-input-json"} == there[name], name


def test_every_reason_code_is_in_the_references() -> None:
    text = "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    assert set(Reason) - set(re.findall(r"`([a-z_]+)`", text)) == set()


def test_no_reason_code_of_the_reference_is_stale() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    tables = re.findall(r"^\| reason \|.*\n(?:\|.*\n)+", text, re.M)
    codes = {
        code for table in tables for code in re.findall(r"`([a-z_]+)`(?=[`a-z_, ]* \|)", table)
    }
    assert codes
    assert codes <= set(Reason)


def test_the_map_leads_to_every_document() -> None:
    linked = set(re.findall(r"\]\(([\w.-]+)", (ROOT / "docs/index.md").read_text()))
    assert {path.name for path in (ROOT / "docs").glob("*.md")} - linked == {"index.md"}
    assert "docs/index.md" in (ROOT / "README.md").read_text()


def test_architecture_names_every_module_and_no_other() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    named = {Path(path).name for path in re.findall(r"`([\w/.]+\.py)`", text)}
    assert named == {path.name for path in (ROOT / "gateway").rglob("*.py")}
    for path in re.findall(r"`(\w[\w/]*/[\w/.]*)`", text):
        assert any(ROOT.glob(path)) or any(ROOT.glob(f"gateway/**/{path}")), path


@pytest.mark.parametrize("path", sorted((ROOT / "docs/iam").glob("*.json")), ids=lambda p: p.name)
def test_every_policy_allows_actions_that_exist_by_name(path: Path) -> None:
    for statement in json.loads(path.read_text())["Statement"]:
        assert all(re.fullmatch(r"(personalize|sqs):[A-Z]\w+", one) for one in statement["Action"])
