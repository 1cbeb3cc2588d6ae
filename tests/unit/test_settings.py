"""Settings: every default, every way to get one wrong, and none that the code never reads."""

from __future__ import annotations

import ast
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema

from gateway.environment_schema import EnvironmentSchema
from gateway.secret_strength import NEW_SECRET
from gateway.settings import Settings, load, require_secret_key
from gateway.sites import Site, SiteSchema, find_site, read_sites
from gateway.strict_schema import SettingsError
from tests.helpers.support import ROOT, SITES, TRACKING_ID, write_sites

KEY = "0123456789abcdefghijklmnopqrstuv"  # 32 characters
SQS = "https://sqs.eu-west-1.amazonaws.com/123456789012/events"
MINIMAL = '[sites.shop]\ntracking_id = "t-1"\norigins = ["https://shop.example.com"]\n'


@pytest.fixture
def sites_toml(tmp_path: Path) -> Path:
    return write_sites(tmp_path / "sites.toml")


def start(sites_toml: Path, **environ: str) -> Settings:
    return load({"GATEWAY_SITES": str(sites_toml), **environ})


def refusal(sites_toml: Path, **environ: str) -> str:
    """The line that stops the start."""
    with pytest.raises(SettingsError) as caught:
        start(sites_toml, **environ)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    return line


def sites_refusal(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "sites.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return refusal(path)


# The environment


@pytest.mark.parametrize(
    ("setting", "default"),
    {
        "queue": "sqlite:///data/queue.db",
        "secret_keys": (),
        "forwarder": "auto",
        "trusted_proxies": 0,
        "public_url": "http://127.0.0.1:8000",
        "queue_max_bytes": 1024**3,
        "min_free_bytes": 256 * 1024**2,
        "max_body_bytes": 262144,
        "dead_letter_queue": None,
        "max_age": 14 * 86400,
        "dedupe_seconds": 3600,
        "demo": None,
    }.items(),
)
def test_a_variable_that_is_not_set_has_its_documented_default(
    setting: str, default: Any, sites_toml: Path
) -> None:
    assert getattr(start(sites_toml), setting) == default


def test_the_sites_file_is_sites_toml_of_the_working_directory_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sites(tmp_path / "sites.toml", MINIMAL)
    monkeypatch.chdir(tmp_path)
    assert list(load({}).sites) == ["shop"]


@pytest.mark.parametrize(
    ("name", "value", "setting", "expected"),
    [
        ("GATEWAY_QUEUE", "sqlite:////var/q.db", "queue", "sqlite:////var/q.db"),
        ("GATEWAY_QUEUE", SQS, "queue", SQS),
        ("GATEWAY_QUEUE", "http://localhost:9324/0/events", "on_sqs", True),
        ("GATEWAY_QUEUE", "sqlite:///q.db", "on_sqs", False),
        ("GATEWAY_DEAD_LETTER_QUEUE", f"{SQS}-dead", "dead_letter_queue", f"{SQS}-dead"),
        ("GATEWAY_SECRET_KEY", f"{KEY}, old-{KEY}", "secret_keys", (KEY, f"old-{KEY}")),
        ("GATEWAY_FORWARDER", "off", "forwarder", "off"),
        ("GATEWAY_TRUSTED_PROXIES", "2", "trusted_proxies", 2),
        (
            "GATEWAY_PUBLIC_URL",
            "https://e.example.com/pz/",
            "public_url",
            "https://e.example.com/pz",
        ),
        ("GATEWAY_PUBLIC_URL", "http://localhost:81", "public_url", "http://localhost:81"),
        ("PORT", "8123", "public_url", "http://127.0.0.1:8123"),
        ("GATEWAY_QUEUE_MAX_BYTES", "65536", "queue_max_bytes", 65536),
        ("GATEWAY_MIN_FREE_BYTES", "0", "min_free_bytes", 0),
        ("GATEWAY_MAX_BODY_BYTES", "100", "max_body_bytes", 100),
        ("GATEWAY_MAX_AGE", "60", "max_age", 60),
        ("GATEWAY_DEDUPE_SECONDS", "60", "dedupe_seconds", 60),
        ("GATEWAY_RATE_LIMIT_STORAGE", "redis://h/0", "rate_limit_storage", "redis://h/0"),
        ("GATEWAY_ADMIN_TOKEN", KEY[:16], "admin_token", KEY[:16]),
        ("GATEWAY_REDACT", "email, Phone", "redact", ("email", "Phone")),
        ("GATEWAY_DEMO", "http://127.0.0.1:9000", "demo", "http://127.0.0.1:9000"),
    ],
)
def test_a_variable_sets_what_it_says(
    name: str, value: str, setting: str, expected: Any, sites_toml: Path
) -> None:
    queue = {"GATEWAY_QUEUE": SQS} if name == "GATEWAY_DEAD_LETTER_QUEUE" else {}
    assert getattr(start(sites_toml, **queue, **{name: value}), setting) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GATEWAY_QUEUE", ""),
        ("GATEWAY_QUEUE", "queue.db"),
        ("GATEWAY_QUEUE", "sqlite://relative.db"),
        ("GATEWAY_QUEUE", "sqlite:///"),
        ("GATEWAY_QUEUE", "sqlite:///folder/"),
        ("GATEWAY_QUEUE", "postgres://host/db"),
        ("GATEWAY_QUEUE", "https://sqs.eu-west-1.amazonaws.com"),
        ("GATEWAY_QUEUE", f"{SQS}?a=b"),
        ("GATEWAY_QUEUE", f"{SQS}.fifo"),
        ("GATEWAY_DEAD_LETTER_QUEUE", "events-dead"),
        ("GATEWAY_DEAD_LETTER_QUEUE", "sqlite:///dead.db"),
        ("GATEWAY_DEAD_LETTER_QUEUE", f"{SQS}.fifo"),
        ("GATEWAY_FORWARDER", "on"),
        ("GATEWAY_FORWARDER", ""),
        ("GATEWAY_TRUSTED_PROXIES", "-1"),
        ("GATEWAY_TRUSTED_PROXIES", "17"),
        ("GATEWAY_TRUSTED_PROXIES", "one"),
        ("GATEWAY_PUBLIC_URL", "events.example.com"),
        ("GATEWAY_PUBLIC_URL", "ftp://events.example.com"),
        ("GATEWAY_QUEUE_MAX_BYTES", "1GiB"),
        ("GATEWAY_QUEUE_MAX_BYTES", "-1"),
        ("GATEWAY_MIN_FREE_BYTES", "1.5"),
        ("GATEWAY_MIN_FREE_BYTES", "-1"),
        ("GATEWAY_MAX_BODY_BYTES", "0"),
        ("GATEWAY_MAX_BODY_BYTES", ""),
        ("GATEWAY_MAX_AGE", "0"),
        ("GATEWAY_MAX_AGE", "14 days"),
        ("GATEWAY_DEDUPE_SECONDS", "0"),
        ("GATEWAY_DEDUPE_SECONDS", "hour"),
        ("GATEWAY_RATE_LIMIT_STORAGE", "memcached://h"),
        ("GATEWAY_ADMIN_TOKEN", ""),
        ("GATEWAY_ADMIN_TOKEN", "t\u00f6k\u00e9n"),
        ("GATEWAY_ADMIN_TOKEN", "token "),
        ("GATEWAY_REDACT", "email,"),
        ("GATEWAY_DEMO", "aws"),
        ("GATEWAY_DEMO", "http://127.0.0.1:9000/page"),
        ("PORT", "http"),
        ("PORT", "65536"),
        ("WEB_CONCURRENCY", "two"),
        ("WEB_CONCURRENCY", "0"),
    ],
)
def test_a_malformed_value_stops_the_start_and_is_named(
    name: str, value: str, sites_toml: Path
) -> None:
    assert refusal(sites_toml, **{name: value}).startswith(f"{name}: ")


@pytest.mark.parametrize("value", ["", "a,,b", "sEcReT,", ",sEcReT", "sEcReT, ,b"])
def test_an_empty_secret_key_stops_the_start_without_showing_the_others(
    value: str, sites_toml: Path
) -> None:
    line = refusal(sites_toml, GATEWAY_SECRET_KEY=value)
    assert line.startswith("GATEWAY_SECRET_KEY: ")
    assert "sEcReT" not in line


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("GATEWAY_SECRET_KEY", "change-me", "is a placeholder"),
        ("GATEWAY_SECRET_KEY", "Change_Me! Change_Me! Change_Me! Change_Me!", "is a placeholder"),
        ("GATEWAY_SECRET_KEY", KEY[:31], "has 31 characters, of 32 at least"),
        ("GATEWAY_SECRET_KEY", f"  {KEY[:31]}  ", "has 31 characters, of 32 at least"),
        ("GATEWAY_SECRET_KEY", "sEcReT" * 6, "only 6 different characters"),
        ("GATEWAY_SECRET_KEY", f"{KEY},sEcReT", "key 2 of 2 has 6 characters"),
        ("GATEWAY_ADMIN_TOKEN", "your-token-goes-in-here", "is a placeholder"),
        ("GATEWAY_ADMIN_TOKEN", "sEcReT", "has 6 characters, of 16 at least"),
    ],
)
def test_a_weak_secret_stops_the_start_with_the_command_that_makes_a_good_one(
    name: str, value: str, problem: str, sites_toml: Path
) -> None:
    line = refusal(sites_toml, **{name: value})
    assert line.startswith(f"{name}: ")
    assert problem in line
    assert "python3 -c 'import secrets; print(secrets.token_hex())' makes a good one" in line
    assert "sEcReT" not in line


def test_the_documented_command_makes_a_valid_secret(sites_toml: Path) -> None:
    made = subprocess.run(shlex.split(NEW_SECRET), capture_output=True, text=True).stdout.strip()
    start(sites_toml, GATEWAY_SECRET_KEY=made, GATEWAY_ADMIN_TOKEN=made)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("GATEWAY_SITE", "GATEWAY_SITES"),
        ("GATEWAY_SECRETKEY", "GATEWAY_SECRET_KEY"),
        ("GATEWAY_QUEUE_MAXBYTES", "GATEWAY_QUEUE_MAX_BYTES"),
        ("GATEWAY_TRUSTED_PROXY", "GATEWAY_TRUSTED_PROXIES"),
    ],
)
def test_an_unknown_variable_stops_the_start_and_the_nearest_is_suggested(
    name: str, meant: str, sites_toml: Path
) -> None:
    line = refusal(sites_toml, **{name: "1"})
    assert f"{name}: unknown" in line
    assert f"did you mean {meant}?" in line


def test_an_unknown_variable_like_no_other_is_refused_without_a_suggestion(
    sites_toml: Path,
) -> None:
    line = refusal(sites_toml, GATEWAY_0123456789_0123456789_0123456789="1")
    assert line.endswith("GATEWAY_0123456789_0123456789_0123456789: unknown")


def test_variables_of_other_programs_are_ignored(sites_toml: Path) -> None:
    assert start(sites_toml, PATH="/bin", AWS_REGION="x", MYGATEWAY_SITES="y", GATEWAY="z")


@pytest.mark.parametrize(
    "name",
    [
        "GATEWAY_PORT",
        "GATEWAY_PORT_80_TCP",
        "GATEWAY_PORT_80_TCP_ADDR",
        "GATEWAY_SERVICE_HOST",
        "GATEWAY_SERVICE_PORT_HTTP",
    ],
)
def test_what_kubernetes_injects_for_a_service_called_gateway_is_exempt(
    name: str, sites_toml: Path
) -> None:
    assert start(sites_toml, **{name: "tcp://10.0.0.1:80"}) == start(sites_toml)


@pytest.mark.parametrize("name", ["GATEWAY_PORTS", "GATEWAY_SERVICE", "GATEWAY_MY_PORT_80"])
def test_what_only_resembles_kubernetes_names_is_not_exempt(name: str, sites_toml: Path) -> None:
    assert f"{name}: unknown" in refusal(sites_toml, **{name: "1"})


def test_all_problems_of_the_environment_are_reported_in_one_line(sites_toml: Path) -> None:
    line = refusal(sites_toml, GATEWAY_MAX_AGE="x", GATEWAY_SITE="y", PORT="z")
    for name in ("GATEWAY_MAX_AGE: ", "GATEWAY_SITE: unknown", "PORT: "):
        assert name in line


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"GATEWAY_DEAD_LETTER_QUEUE": SQS}, "only with an SQS queue"),
        ({"GATEWAY_DEAD_LETTER_QUEUE": SQS, "GATEWAY_QUEUE": SQS}, "the same as GATEWAY_QUEUE"),
        ({"GATEWAY_MAX_AGE": str(12 * 86400 + 1), "GATEWAY_QUEUE": SQS}, "at most 1036800"),
    ],
)
def test_settings_that_contradict_each_other_stop_the_start(
    environ: dict[str, str], says: str, sites_toml: Path
) -> None:
    line = refusal(sites_toml, **environ)
    assert line.startswith(f"{next(iter(environ))}: ")
    assert says in line


def test_an_event_on_sqs_is_given_up_before_sqs_forgets_it(sites_toml: Path) -> None:
    assert start(sites_toml, GATEWAY_QUEUE=SQS).max_age == 12 * 86400
    assert start(sites_toml, GATEWAY_QUEUE=SQS, GATEWAY_MAX_AGE="60").max_age == 60


def test_the_web_end_refuses_to_run_without_a_secret_key(sites_toml: Path) -> None:
    with pytest.raises(SettingsError, match=r"^GATEWAY_SECRET_KEY: missing"):
        require_secret_key(start(sites_toml))
    require_secret_key(start(sites_toml, GATEWAY_SECRET_KEY=KEY))


def test_no_secret_is_in_a_repr(tmp_path: Path) -> None:
    path = write_sites(tmp_path / "sites.toml", MINIMAL + 'user_secret = "hush-hush"\n')
    redis = "redis://:sEcReT-3@127.0.0.1"
    settings = start(
        path, GATEWAY_SECRET_KEY=f"sEcReT-1{KEY},sEcReT-2{KEY}", GATEWAY_RATE_LIMIT_STORAGE=redis
    )
    assert settings.secret_keys == (f"sEcReT-1{KEY}", f"sEcReT-2{KEY}")
    assert settings.sites["shop"].user_secret == "hush-hush"
    for text in (repr(settings), str(settings), repr(settings.sites)):
        assert "sEcReT" not in text
        assert "hush" not in text


def test_settings_cannot_be_changed_once_they_are_read(sites_toml: Path) -> None:
    settings = start(sites_toml)
    with pytest.raises(FrozenInstanceError):
        settings.max_age = 1  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        settings.sites["shop"].region = None  # type: ignore[misc]
    with pytest.raises(TypeError):
        settings.sites["new"] = settings.sites["shop"]  # type: ignore[index]


def test_the_demo_shop_is_a_site_of_its_own_beside_those_of_the_file(tmp_path: Path) -> None:
    path = write_sites(
        tmp_path / "sites.toml",
        MINIMAL + MINIMAL.replace("shop]", "demo]", 1).replace("t-1", "t-2"),
    )
    sandbox = "http://127.0.0.1:9000"
    public = "https://8000.tunnel.example/pz"
    sites = start(path, GATEWAY_DEMO=sandbox, PORT="8123", GATEWAY_PUBLIC_URL=public).sites
    assert list(sites) == ["shop", "demo", "demo-shop"]
    assert sites["shop"].endpoint_url is None
    demo = sites["demo-shop"]
    assert demo.endpoint_url == sandbox
    assert set(demo.origins) == {
        "http://127.0.0.1:8123",
        "http://localhost:8123",
        "https://8000.tunnel.example",
    }


def test_the_demo_shop_needs_no_sites_file_but_the_one_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(load({"GATEWAY_DEMO": "http://127.0.0.1:9000"}).sites) == ["demo"]
    line = refusal(tmp_path / "nowhere.toml", GATEWAY_DEMO="http://127.0.0.1:9000")
    assert "nowhere.toml: No such file" in line


# The sites file


def test_a_site_with_required_keys_only_has_the_documented_defaults(tmp_path: Path) -> None:
    assert read_sites(write_sites(tmp_path / "sites.toml", MINIMAL))["shop"] == Site(
        key="shop",
        tracking_id="t-1",
        origins=("https://shop.example.com",),
        region=None,
        endpoint_url=None,
        role_arn=None,
        session_minutes=30,
        visitor_days=0,
        anonymous_user_id=False,
        cookie_domain=None,
        cookie_samesite="Lax",
        allow_missing_origin=False,
        allow_null_origin=False,
        event_types=frozenset(),
        user_secret=None,
        honor_gpc=True,
        honor_dnt=True,
        drop_bots=False,
        pixel=False,
        events_per_minute=3000,
        calls_per_second=1000,
        schema=None,
    )


def test_a_site_has_what_the_file_says(tmp_path: Path) -> None:
    text = """
    [sites.My-shop_2]
    tracking_id = "t-1"
    origins = ["HTTPS://Shop.Example.com:443", "https://*.example.org", "http://[::1]:8080"]
    region = "eu-central-1"
    endpoint_url = "http://127.0.0.1:9000"
    role_arn = "arn:aws:iam::123456789012:role/events"
    session_minutes = 45
    visitor_days = 90
    anonymous_user_id = true
    cookie_domain = "example.com"
    cookie_samesite = "None"
    allow_missing_origin = true
    allow_null_origin = true
    event_types = ["view", "purchase", "view"]
    user_secret = "s"
    honor_gpc = false
    honor_dnt = false
    drop_bots = true
    pixel = true
    events_per_minute = 60
    calls_per_second = 50
    schema = "interactions.json"
    """
    assert read_sites(write_sites(tmp_path / "sites.toml", text))["My-shop_2"] == Site(
        key="My-shop_2",
        tracking_id="t-1",
        origins=("https://shop.example.com", "https://*.example.org", "http://[::1]:8080"),
        region="eu-central-1",
        endpoint_url="http://127.0.0.1:9000",
        role_arn="arn:aws:iam::123456789012:role/events",
        session_minutes=45,
        visitor_days=90,
        anonymous_user_id=True,
        cookie_domain="example.com",
        cookie_samesite="None",
        allow_missing_origin=True,
        allow_null_origin=True,
        event_types=frozenset({"view", "purchase"}),
        user_secret="s",
        honor_gpc=False,
        honor_dnt=False,
        drop_bots=True,
        pixel=True,
        events_per_minute=60,
        calls_per_second=50,
        schema="interactions.json",
    )


@pytest.mark.parametrize(
    ("key", "values"),
    {
        "tracking_id": ["1", '""', "true", '["t"]', f'"{"t" * 257}"'],
        "origins": ['"https://a.example"', "[1]", '["null"]', '["*"]', '["https://a.example/"]'],
        "region": ['"Ireland"', '""', "1", '"us-east-1\\n"'],
        "endpoint_url": ['"vpce.example.com"', '"ftp://a.example"', '""', "1"],
        "role_arn": ['"events"', '"arn:aws:iam::1:role/x"', "1"],
        "session_minutes": ["0", "1441", '"30"', "30.0", "true"],
        "visitor_days": ["-1", "401", '"30"', "30.0", "true"],
        "anonymous_user_id": ['"true"', "1"],
        "cookie_domain": ['"a b"', '""', '"a;b"', "1"],
        "cookie_samesite": ['"Strict"', '"lax"', "true"],
        "allow_missing_origin": ['"true"', "1", "0", "[]"],
        "allow_null_origin": ['"true"'],
        "event_types": ['"view"', "[1]", '[""]', f'["{"v" * 257}"]'],
        "user_secret": ['""', "1"],
        "honor_gpc": ['"false"', "0"],
        "honor_dnt": ['"false"', "0"],
        "drop_bots": ['"true"', "1"],
        "pixel": ['"true"', "1"],
        "events_per_minute": ["0", '"5"', "1.0", "true"],
        "schema": ['""', "1"],
        "calls_per_second": ["0", "100001", '"5"', "1.0", "true"],
    }.items(),
)
def test_a_wrong_value_of_a_site_is_named(tmp_path: Path, key: str, values: list[str]) -> None:
    kept = [line for line in MINIMAL.splitlines() if not line.startswith(key)]
    for value in values:
        line = sites_refusal(tmp_path, "\n".join([*kept, f"{key} = {value}"]))
        assert f"[sites.shop]: {key}: " in line, value


def test_every_key_of_a_site_is_in_the_tests_above() -> None:
    [parameters] = test_a_wrong_value_of_a_site_is_named.pytestmark  # type: ignore[attr-defined]
    assert {key for key, _ in parameters.args[1]} == set(SiteSchema().fields)


@pytest.mark.parametrize("key", ["tracking_id", "origins"])
def test_a_required_key_that_is_missing_is_named(tmp_path: Path, key: str) -> None:
    kept = [line for line in MINIMAL.splitlines() if not line.startswith(key)]
    line = sites_refusal(tmp_path, "\n".join(kept))
    assert f"[sites.shop]: {key}: Missing" in line


@pytest.mark.parametrize(
    ("key", "meant"),
    [("regoin", "region"), ("origin", "origins"), ("session_minute", "session_minutes")],
)
def test_an_unknown_key_is_refused_and_the_nearest_is_suggested(
    tmp_path: Path, key: str, meant: str
) -> None:
    line = sites_refusal(tmp_path, MINIMAL + f"{key} = 1\n")
    assert f"[sites.shop]: {key}: unknown (did you mean {meant}?)" in line


def test_all_problems_of_a_site_are_reported_in_one_line(tmp_path: Path) -> None:
    line = sites_refusal(tmp_path, MINIMAL + 'region = 1\nsession_minutes = 0\n"a\\nb" = 1\n')
    for place in ("region: ", "session_minutes: ", "a b: unknown"):
        assert f"[sites.shop]: {place}" in line


@pytest.mark.parametrize("key", ["", "a b", "a.b", "ümlaut", "a\\nb", "k" * 65, "a=b", "a;b"])
def test_a_site_key_that_fits_no_cookie_name_is_refused(tmp_path: Path, key: str) -> None:
    text = f'[sites."{key}"]\ntracking_id = "t"\norigins = []\n'
    assert "a site's key is" in sites_refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("tracking_ids", "shared"),
    [({"a": "t", "b": "t"}, "t"), ({"a": "b", "b": "t"}, "b"), ({"a": "t", "b": "a"}, "a")],
    ids=["two tracking IDs", "a tracking ID and a later key", "a key and a later tracking ID"],
)
def test_a_name_that_would_mean_two_sites_is_refused(
    tmp_path: Path, tracking_ids: dict[str, str], shared: str
) -> None:
    tables = [
        f'[sites.{key}]\ntracking_id = "{tracking_id}"\norigins = []\n'
        for key, tracking_id in tracking_ids.items()
    ]
    line = sites_refusal(tmp_path, "".join(tables))
    assert f"'{shared}' names both [sites.a] and [sites.b]" in line


def test_a_site_may_have_its_key_as_its_tracking_id(tmp_path: Path) -> None:
    text = MINIMAL.replace("t-1", "shop")
    assert read_sites(write_sites(tmp_path / "sites.toml", text))["shop"].tracking_id == "shop"


@pytest.mark.parametrize("name", ["shop", TRACKING_ID])
def test_a_site_is_found_by_its_key_and_by_its_tracking_id(tmp_path: Path, name: str) -> None:
    sites = read_sites(write_sites(tmp_path / "sites.toml", SITES))
    assert find_site(sites, name) is sites["shop"]
    assert find_site(sites, name.upper()) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "at least one"),
        ("[sites]\n", "at least one"),
        ("sites = 1\n", "at least one"),
        ("[[sites]]\n", "at least one"),
        ("[site.shop]\n", "at least one"),
        (f"title = 1\n{MINIMAL}", "nothing else"),
        ("[sites]\nshop = 1\n", "[sites.shop]: not a table"),
        (f"{MINIMAL}{MINIMAL}", "not valid TOML"),
        ("[sites.shop\n", "not valid TOML"),
        ("{}", "not valid TOML"),
        ("a = " + "[" * 5000, "not valid TOML"),
        (f"{MINIMAL}events_per_minute = {'9' * 5000}\n", "not valid TOML"),
        (b"[sites.shop]\nregion = '\xff'\n", "not UTF-8"),
    ],
)
def test_a_file_that_is_no_sites_file_is_named_with_the_reason(
    tmp_path: Path, text: str | bytes, says: str
) -> None:
    line = sites_refusal(tmp_path, text)
    assert says in line
    assert str(tmp_path / "sites.toml") in line


def test_a_missing_sites_file_is_named(tmp_path: Path) -> None:
    line = refusal(tmp_path / "none.toml")
    assert line == f"GATEWAY_SITES: {tmp_path / 'none.toml'}: No such file or directory"


def test_a_folder_is_no_sites_file(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"GATEWAY_SITES: {tmp_path}: Is a directory"


# No setting that the code never reads

HOLDERS = {Settings: {"settings"}, Site: {"site"}}
# gunicorn reads PORT and WEB_CONCURRENCY itself.
SPENT_IN_LOAD = {"port", "workers"}


def reads(holders: set[str]) -> Iterator[str]:
    """Every attribute that code outside its own room reads from a thing of one of these names."""
    rooms = set((ROOT / "gateway").rglob("*.py")) - {
        ROOT / "gateway/settings.py",
        ROOT / "gateway/sites.py",
    }
    for path in (*rooms, ROOT / "gunicorn.conf.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                holder = node.value
                name = holder.attr if isinstance(holder, ast.Attribute) else None
                name = holder.id if isinstance(holder, ast.Name) else name
                if name in holders:
                    yield node.attr


@pytest.mark.parametrize("kind", HOLDERS)
def test_every_setting_is_read_by_code(kind: type[Any]) -> None:
    declared = {item.name for item in fields(kind)}
    assert declared - set(reads(HOLDERS[kind])) == set()


@pytest.mark.parametrize(
    ("schema", "kind", "elsewhere"),
    [(EnvironmentSchema(), Settings, SPENT_IN_LOAD), (SiteSchema(), Site, set())],
    ids=["environment", "sites file"],
)
def test_every_declared_setting_reaches_the_code(
    schema: Schema, kind: type[Any], elsewhere: set[str]
) -> None:
    assert set(schema.fields) - elsewhere == {item.name for item in fields(kind)} - {"sites", "key"}


def test_every_variable_is_in_the_tests_above() -> None:
    [parameters] = test_a_variable_sets_what_it_says.pytestmark  # type: ignore[attr-defined]
    names = {case[0] for case in parameters.args[1]} | {"GATEWAY_SITES", "WEB_CONCURRENCY"}
    assert names == {field.data_key for field in EnvironmentSchema().fields.values()}
