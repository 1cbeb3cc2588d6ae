"""Write skeletons of PutEvents' input, and read it from JSON, YAML or shorthand, as AWS CLI does.

All of it follows botocore's service model, so that a member AWS adds appears here too.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.utils import ArgumentGenerator, parse_to_aware_datetime
from botocore.validate import ParamValidator

from gateway.commands.put_events import shorthand

_SENTENCE_END = re.compile("[.:]")
_LINE_BREAK = re.compile("[\n\u2028]")


class ParameterError(ValueError):
    """An option has an invalid value; the message names both."""


def put_events_input() -> Any:
    """Return PutEvents' input shape, without a client, region or credentials."""
    service = Loader().load_service_model("personalize-events", "service-2")
    return ServiceModel(service).operation_model("PutEvents").input_shape


def as_json(shape: Any) -> str:
    """Return the skeleton for `--cli-input-json`."""
    skeleton = ArgumentGenerator().generate_skeleton(shape)
    return json.dumps(skeleton, indent=4, default=datetime.isoformat) + "\n"


def as_yaml(shape: Any) -> str:
    """Return the skeleton for `--cli-input-yaml`, with a comment on each member."""
    skeleton = ArgumentGenerator().generate_skeleton(shape)
    return "".join(f"{line}\n" for line in _structure(skeleton, shape))


# By the option's value; `output` is missing, since PutEvents' answer is empty.
WRITERS = {"input": as_json, "yaml-input": as_yaml}


def _structure(skeleton: dict[str, Any], shape: Any) -> list[str]:
    lines: list[str] = []
    gap = "  "  # AWS CLI's YAML writer puts two blanks before a structure's first comment, then one
    for name, value in skeleton.items():
        scalar, below = _value(value, shape.members[name])
        comment = _comment(shape.members[name], required=name in shape.required_members)
        lines.append(f"{name}:{scalar}" + (f"{gap}# {comment}" if comment else ""))
        lines.extend(below)
        gap = " " if comment else gap
    return lines


def _value(value: Any, shape: Any) -> tuple[str, list[str]]:
    """Return the rest of the key's line, and the lines below it."""
    if isinstance(value, list):
        scalar, lines = _value(value[0], shape.member)
        first, *others = [line.removeprefix("  ") for line in lines] or [scalar.strip()]
        return "", [f"- {first}", *(f"  {line}" for line in others)]
    if isinstance(value, dict):
        return "", [f"  {line}" for line in _structure(value, shape)]
    return " " + ("''" if value == "" else str(value)), []


def _comment(shape: Any, *, required: bool) -> str:
    """Return `[REQUIRED]` for a required member, and its documentation's first sentence."""
    try:
        root = ElementTree.fromstring(f"<doc>{shape.documentation}</doc>")  # noqa: S314 - botocore's
        text = "".join(root.itertext())
    except ElementTree.ParseError:
        text = shape.documentation
    sentence = _LINE_BREAK.sub(" ", _SENTENCE_END.split(text, maxsplit=1)[0])
    parts = ["[REQUIRED]"] if required else []
    return " ".join([*parts, f"{sentence}."] if sentence else parts)


class _Yaml12(yaml.SafeLoader):
    """Load YAML 1.2 as AWS CLI does: `no` is text, `010` ten, `1e3` a number; keys are unique."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(keys)) != len(keys):
            raise yaml.constructor.ConstructorError(
                problem="a key twice", problem_mark=node.start_mark
            )
        return super().construct_mapping(node, deep)

    def integer(self, node: Any) -> int:
        """Read an integer; only a letter changes its base."""
        text = self.construct_scalar(node).replace("_", "")
        return int(text, 0 if text.strip("+-")[1:2] in ("b", "o", "x") else 10)


_TAGS = {
    "tag:yaml.org,2002:bool": r"true|True|TRUE|false|False|FALSE",
    "tag:yaml.org,2002:int": r"[-+]?(0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9_]+)",
    "tag:yaml.org,2002:float": (
        r"[-+]?([0-9][0-9_]*(\.[0-9_]*([eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)"
        r"|\.[0-9_]+([eE][-+][0-9]+)?|\.(inf|Inf|INF))|\.(nan|NaN|NAN)"
    ),
}
_Yaml12.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag not in _TAGS]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern in _TAGS.items():
    _firsts = "tTfF" if _tag.endswith("bool") else "-+.0123456789"
    _Yaml12.add_implicit_resolver(_tag, re.compile(f"(?:{_pattern})$"), list(_firsts))
_Yaml12.add_constructor("tag:yaml.org,2002:int", _Yaml12.integer)


def parameters(options: Mapping[str, Any], shape: Any) -> dict[str, Any]:
    """Return PutEvents' parameters: those of `--cli-input-…`, overridden by their own options.

    `options` go by argparse's names, None where not given.
    """
    values: dict[str, Any] = {}
    for member, member_shape in shape.members.items():
        name = re.sub("[A-Z]", lambda capital: f"_{capital.group().lower()}", member)
        value = options.get(name)
        with _blaming(name):
            if isinstance(value, list):
                values[member] = _event_list(value, member_shape)
            elif value is not None:
                values[member] = _read(value)
    return _cli_input(options) | values


def checked(parameters: dict[str, Any], shape: Any) -> dict[str, Any]:
    """Return the parameters as AWS CLI sends them, times in whole seconds, or raise as it does."""
    try:
        report = ParamValidator().validate(parameters, shape)
    except (OverflowError, RuntimeError) as error:  # a time out of range
        raise ParameterError(str(error)) from None
    if report.has_errors():
        raise ParameterError(f"Parameter validation failed:\n{report.generate_report()}")
    events = [
        # AWS CLI's botocore drops fractions; newer ones send them.
        event | {"sentAt": int(parse_to_aware_datetime(event["sentAt"]).timestamp())}
        for event in parameters["eventList"]
    ]
    return parameters | {"eventList": events}


def _cli_input(options: Mapping[str, Any]) -> dict[str, Any]:
    loaders = {"cli_input_json": _load_json, "cli_input_yaml": _load_yaml}
    names = [name for name in loaders if options[name] is not None]
    if len(names) > 1:
        raise ParameterError("Only one --cli-input- parameter may be specified.")
    loaded = {}
    for name in names:
        with _blaming(name):
            loaded = loaders[name](_read(options[name]))
            if not isinstance(loaded, dict):
                raise ValueError(f"Invalid type: expecting map, received {type(loaded)}")
    return loaded


@contextmanager
def _blaming(name: str) -> Iterator[None]:
    """Add the option's name to errors about its value."""
    try:
        yield
    except ValueError as error:
        option = "--" + name.replace("_", "-")
        raise ParameterError(f"Error parsing parameter '{option}': {error}") from None


def _load_json(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Invalid JSON: {error}\nJSON received: {text!s}") from None


def _load_yaml(text: str | bytes) -> Any:
    try:
        return yaml.load(text, _Yaml12)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"Invalid YAML: {error}") from None


def _read(value: str) -> str | bytes:
    """Return the value, or the content of the file that it names."""
    scheme, separator, name = value.partition("://")
    if not separator or scheme not in ("file", "fileb"):
        return value
    path = os.path.expandvars(os.path.expanduser(name))
    try:
        return Path(path).read_bytes() if scheme == "fileb" else Path(path).read_text("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"Unable to load paramfile {value}: not UTF-8 text") from None
    except OSError as error:
        raise ValueError(f"Unable to load paramfile {value}: {error}") from None


def _event_list(values: list[str], shape: Any) -> Any:
    """Read one JSON list, or a file of one, or any number of JSON objects or shorthand texts."""
    content = _read(values[0]) if len(values) == 1 else ""
    if isinstance(content, bytes):
        raise ValueError("file:// is needed here, not fileb://")
    if content.strip().startswith("["):
        return _load_json(content)
    if len(values) == 1 and content != values[0]:
        raise ValueError("A file must hold a JSON list of events.")
    if values and values[0].strip().startswith(("[", "{")):
        return [_json_object(value) for value in values]
    return shorthand.convert([shorthand.parse(value, _read) for value in values], shape)


def _json_object(text: str) -> Any:
    if not text.strip().startswith("{"):
        raise ValueError(f"Invalid JSON:\n{text}")
    return _load_json(text)
