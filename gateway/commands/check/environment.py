"""The environment, setting by setting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gateway.commands.check.finding import Finding
from gateway.environment_schema import EnvironmentSchema
from gateway.secret_strength import NEW_SECRET
from gateway.settings import KUBERNETES
from gateway.strict_schema import SettingsError, load_or_raise

SECRET = {"GATEWAY_SECRET_KEY", "GATEWAY_ADMIN_TOKEN"}
REFERENCE = "docs/settings.md lists every setting and its values"


def findings(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield a finding for each setting, and for each name that is not one."""
    fields = EnvironmentSchema().fields
    for name, field in sorted((str(field.data_key), field) for field in fields.values()):
        if name in environ:
            yield _setting(name, environ[name])
        elif name == "GATEWAY_SECRET_KEY":
            remedy = f"The web end does not start without it; {NEW_SECRET} makes one"
            yield Finding(name, True, "not set", remedy)
        else:
            default = field.metadata.get("default", field.load_default)
            yield Finding(
                name, True, "not set" if default in (None, ()) else f"{default} (default)"
            )
    known = {field.data_key for field in fields.values()}
    for name in sorted(set(environ) - known):
        if name.startswith("GATEWAY_") and not KUBERNETES.fullmatch(name):
            yield _setting(name, environ[name])


def _setting(name: str, value: str) -> Finding:
    try:
        load_or_raise(EnvironmentSchema(), {name: value}, "the environment")
    except SettingsError as error:
        text = str(error).removeprefix("the environment: ").removeprefix(f"{name}: ")
        text, _, command = text.partition("; ") if NEW_SECRET in text else (text, "", "")
        return Finding(name, False, text, command or REFERENCE)
    return Finding(name, True, "set" if name in SECRET else value)
