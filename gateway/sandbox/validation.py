"""Validate PutEvents requests against botocore's service model, maximums and patterns included.

boto3 itself enforces types, required members and minimums only; the rest is left to AWS, which
is what this stands in for. The model is compiled once into nested functions, one a shape.

As AWS does, a member that the model does not know is ignored, not refused: it is dropped from
what is kept, and named in `Request.ignored`, since it is more often a slip than meant.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn

from gateway.sandbox.errors import ApiError
from gateway.sandbox.problems import Report, unexpected

SERVICE = "personalize-events"
OPERATION = "PutEvents"

# The model's patterns -> equivalent ones that match in linear time. The first one
# takes cubic time for a value that it does not match.
LINEAR = {r"^[\x20-\x7E]*[\x21-\x7E]+[\x20-\x7E]*$": r"\x20*[\x21-\x7E][\x20-\x7E]*"}

# Not in the model but in its documentation of `properties`: refused as keys, in any case.
RESERVED_KEYS = frozenset(
    {"userid", "sessionid", "eventtype", "timestamp", "recommendationid", "impression"}
)


@dataclass(frozen=True)
class Request:
    """A valid request: its known members, and the paths of those that were ignored."""

    members: dict[str, Any]
    ignored: list[str]


Check = Callable[[Any, str, Report], Any]
"""Check the value at a path, add problems to the report, and return what AWS would keep."""


def read(body: bytes) -> Any:
    """Decode a request's body; raise ApiError if it is not JSON."""
    if not body:
        return {}
    try:
        return json.loads(body.decode(), parse_constant=_not_json)
    except (ValueError, RecursionError) as error:
        raise ApiError("SerializationException", f"The body is not JSON: {error}") from None


def validate(value: Any) -> Request:
    """Check a decoded body; raise ApiError if AWS would refuse it."""
    report = Report()
    members = put_events()(value, "", report)
    if report.problems:
        raise ApiError("InvalidInputException", report.message())
    if report.beyond:
        raise ApiError("InvalidInputException", report.beyond[0])
    return Request(members, report.ignored)


@cache
def put_events() -> Check:
    """Compile PutEvents' input as botocore models it, which is loaded here only: it is slow."""
    from botocore.loaders import Loader
    from botocore.model import ServiceModel

    model = ServiceModel(Loader().load_service_model(SERVICE, "service-2"), SERVICE)
    return compile_shape(model.operation_model(OPERATION).input_shape)


def compile_shape(shape: Any) -> Check:
    """Compile one of botocore's shapes, and those inside it, into its check."""
    return _COMPILERS.get(shape.type_name, _anything)(shape)


def _structure(shape: Any) -> Check:
    members = {name: compile_shape(member) for name, member in shape.members.items()}
    required = shape.required_members

    def check(value: Any, path: str, report: Report) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise unexpected(value, "Structure", path)
        prefix = f"{path}." if path else ""
        for name in required:
            if value.get(name) is None:
                report.add_null(prefix + name)
        checked = {}
        for name, item in value.items():
            if name not in members:
                report.ignored.append(prefix + name)
            elif item is not None:
                checked[name] = members[name](item, prefix + name, report)
        return checked

    return check


def _list(shape: Any) -> Check:
    check_member = compile_shape(shape.member)
    check_length = _length(shape)

    def check(value: Any, path: str, report: Report) -> list[Any]:
        if not isinstance(value, list):
            raise unexpected(value, "List", path)
        check_length(value, path, report)
        checked = []
        for number, item in enumerate(value, 1):
            if item is None:
                report.add_null(f"{path}.{number}.member")
            else:
                checked.append(check_member(item, f"{path}.{number}.member", report))
        return checked

    return check


def _string(shape: Any) -> Check:
    check_length = _length(shape)
    check_pattern = _pattern(shape)
    is_json = shape.serialization.get("jsonvalue", False)

    def check(value: Any, path: str, report: Report) -> str:
        if not isinstance(value, str):
            raise unexpected(value, "String", path)
        # The length comes first, so that slower checks get only bounded texts.
        if check_length(value, path, report):
            check_pattern(value, path, report)
            if is_json:
                report.beyond.extend(_properties_problems(value))
        return value

    return check


def _number(shape: Any) -> Check:
    kind = shape.type_name.capitalize()

    def check(value: Any, path: str, _report: Report) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise unexpected(value, kind, path)
        if not _is_finite(value):
            raise ApiError("SerializationException", f"The number at '{path}' is out of range")
        return value

    return check


def _anything(_shape: Any) -> Check:
    """Accept any value of a kind of shape that PutEvents did not have when this was written."""
    return lambda value, _path, _report: value


_COMPILERS: dict[str, Callable[[Any], Check]] = {
    "structure": _structure,
    "list": _list,
    "string": _string,
    "float": _number,
    "timestamp": _number,  # REST-JSON's default in a body: seconds since 1970, never a text
}


def _length(shape: Any) -> Callable[[str | list[Any], str, Report], bool]:
    smallest, largest = shape.metadata.get("min", 0), shape.metadata.get("max", math.inf)
    show = _shower(shape)

    def check(value: str | list[Any], path: str, report: Report) -> bool:
        length = len(value)
        if length < smallest:
            limit = f"have length greater than or equal to {smallest}"
        elif length > largest:
            limit = f"have length less than or equal to {largest}"
        else:
            return True
        report.add(path, show(value), limit)
        return False

    return check


def _pattern(shape: Any) -> Callable[[str, str, Report], None]:
    pattern = shape.metadata.get("pattern")
    if pattern is None:
        return lambda _value, _path, _report: None
    matches = re.compile(LINEAR.get(pattern, pattern)).fullmatch
    show = _shower(shape)

    def check(value: str, path: str, report: Report) -> None:
        if not matches(value):
            report.add(path, show(value), f"satisfy regular expression pattern: {pattern}")

    return check


def _shower(shape: Any) -> Callable[[Any], str]:
    """Return whether the model calls a shape's values sensitive, so that messages hide them."""
    if _is_sensitive(shape):
        return lambda _value: ""
    return lambda value: f" '{value}'"


def _is_sensitive(shape: Any) -> bool:
    if shape.type_name == "list" and _is_sensitive(shape.member):
        return True
    return bool(shape.metadata.get("sensitive"))


def _properties_problems(text: str) -> list[str]:
    """Return what is wrong with `properties` beyond the model, which allows any text.

    The first message is AWS's own (aws/aws-sdk-js#2773); the other refusal is documented, but
    nobody has reported its wording.
    """
    try:
        properties = json.loads(text, parse_constant=_not_json)
    except (ValueError, RecursionError):
        properties = None
    if not isinstance(properties, dict):
        return ["Error parsing properties json"]
    reserved = [key for key in properties if key.lower() in RESERVED_KEYS]
    return [f"The key '{key}' is reserved and can't be in properties" for key in reserved]


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an int larger than any float
        return False


def _not_json(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
