"""Cases of the other options, the environment, the answers; and deliberate differences."""

from tests.integration.conformance.case import (
    CONFIGURATION,
    GENERAL,
    IDS,
    JSON,
    SERVICE,
    USAGE,
    VIEW,
    YAML,
    Case,
    given,
    member,
    plus,
    view,
)

NO_YAML = "--cli-input-yaml and the skeleton yaml-input"
NO_KEYS: dict[str, str | None] = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
FILES_OF_AWS: dict[str, str | None] = {
    "AWS_CONFIG_FILE": "config",
    "AWS_SHARED_CREDENTIALS_FILE": "credentials",
}

PLAIN = [
    Case("a user", (*given(VIEW), "--user-id", "u-1")),
    Case(
        "values after an equals sign", ("--tracking-id=t", "--session-id=s", f"--event-list={VIEW}")
    ),
    Case("an option twice", (*given(VIEW), "--user-id", "a", "--user-id", "b")),
    Case("a negative number as user", (*given(VIEW), "--user-id", "-5")),
    Case("a dash as user", (*given(VIEW), "--user-id", "-x"), USAGE),
    Case("a dash after an equals sign", (*given(VIEW), "--user-id=-x")),
    Case("nothing at all", (), USAGE),
    Case("no tracking ID", ("--session-id", "s", "--event-list", VIEW), USAGE),
    Case("abbreviations", ("--track", "t", "--sess", "s", "--ev", VIEW, "--us", "u")),
    Case("an abbreviation that means another", ("--track", "t", "--sess", "s", "--e", VIEW), USAGE),
    Case("an unknown option", (*given(VIEW), "--colour", "red"), USAGE),
    Case("an argument too many", ("extra", *given(VIEW)), USAGE),
]

INPUT = [
    Case("JSON", ("--cli-input-json", JSON)),
    Case("JSON from a file", ("--cli-input-json", "file://input.json")),
    Case("JSON from a missing file", ("--cli-input-json", "file://none"), USAGE),
    Case(
        "options over JSON", ("--cli-input-json", JSON, "--user-id", "u-2", "--session-id", "s-2")
    ),
    Case("events over JSON", ("--cli-input-json", JSON, "--event-list", "eventType=x,sentAt=2")),
    Case("JSON with a part missing", ("--cli-input-json", '{"trackingId": "t"}'), USAGE),
    Case("the missing parts as options", ("--cli-input-json", '{"userId": "u"}', *given(VIEW))),
    Case(
        "JSON with an unknown member", ("--cli-input-json", JSON.replace("userId", "user")), USAGE
    ),
    Case("JSON with a number for an ID", ("--cli-input-json", JSON.replace('"u-1"', "5")), USAGE),
    Case("a JSON list for all input", ("--cli-input-json", "[]"), USAGE),
    Case("JSON input after an equals sign", (f"--cli-input-json={JSON}",), USAGE),
    Case("JSON input after an equals sign, all given", (f"--cli-input-json={JSON}", *given(VIEW))),
]

YAML_INPUT = [
    Case(f"YAML: {name}", args, status, NO_YAML, sent)
    for name, args, status, sent in [
        ("a text", ("--cli-input-yaml", YAML), 0, view()),
        ("a file", ("--cli-input-yaml", "file://input.yaml"), 0, view()),
        ("a file as bytes", ("--cli-input-yaml", "fileb://input.yaml"), 0, view()),
        ("JSON is YAML", ("--cli-input-yaml", JSON), 0, view() | {"userId": "u-1"}),
        (
            "an option over it",
            ("--cli-input-yaml", YAML, "--user-id", "u"),
            0,
            view() | {"userId": "u"},
        ),
        ("beside JSON", ("--cli-input-yaml", YAML, "--cli-input-json", JSON), USAGE, None),
        ("broken", ("--cli-input-yaml", "{"), USAGE, None),
        ("a list", ("--cli-input-yaml", "- a"), USAGE, None),
        ("a key twice", ("--cli-input-yaml", YAML + "sessionId: s-2\n"), USAGE, None),
        ("a number for an ID", ("--cli-input-yaml", YAML.replace("s-1", "010")), USAGE, None),
        (
            "no is a text (YAML 1.2)",
            ("--cli-input-yaml", YAML.replace("i1", "no")),
            0,
            view(itemId="no"),
        ),
        *(
            (
                f"sentAt: {written}",
                ("--cli-input-yaml", YAML.replace("1700000000", written)),
                USAGE if seconds is None else 0,
                None if seconds is None else view(sentAt=seconds),
            )
            for written, seconds in [
                ("2024-01-01T00:00:00Z", 1704067200),
                ("2024-01-01 02:00:00+02:00", 1704067200),
                ("2024-01-01 00:00:00.5", 1704067200),
                ("'2024-01-01'", 1704067200),
                ("2024-01-01", None),
                ("1.7e9", 1700000000),
                ("1_700_000_000", 1700000000),
                ("010", 10),
                ("0x10", 16),
            ]
        ),
    ]
]

SKELETONS = [
    Case("skeleton", ("--generate-cli-skeleton",)),
    Case("skeleton input after an equals sign", ("--generate-cli-skeleton=input",), USAGE),
    Case("skeleton input beside all else", (*given(VIEW), "--generate-cli-skeleton=input")),
    Case(
        "skeleton input beside a bad event", ("--event-list", "x", "--generate-cli-skeleton"), USAGE
    ),
    Case("skeleton output", (*given(VIEW), "--generate-cli-skeleton", "output")),
    Case(
        "skeleton output of JSON", ("--cli-input-json", JSON, "--generate-cli-skeleton", "output")
    ),
    Case("skeleton output of nothing", ("--generate-cli-skeleton", "output"), USAGE),
    Case(
        "skeleton output of a bad event",
        (*given("a=b"), "--generate-cli-skeleton", "output"),
        USAGE,
    ),
    Case(
        "skeleton output without region",
        (*given(VIEW), "--generate-cli-skeleton", "output"),
        CONFIGURATION,
        env={"AWS_DEFAULT_REGION": None},
    ),
    Case("an unknown skeleton", ("--generate-cli-skeleton", "xml"), USAGE),
]

GLOBAL = [
    Case("region", (*given(VIEW), "--region", "eu-central-1")),
    Case("profile", (*given(VIEW), "--profile", "other"), env=FILES_OF_AWS | NO_KEYS),
    Case(
        "profile's region",
        (*given(VIEW), "--profile", "other"),
        env=FILES_OF_AWS | {"AWS_DEFAULT_REGION": None},
    ),
    Case(
        "profile named by the environment",
        given(VIEW),
        env=FILES_OF_AWS | NO_KEYS | {"AWS_PROFILE": "other"},
    ),
    Case("an unknown profile", (*given(VIEW), "--profile", "none"), GENERAL, env=FILES_OF_AWS),
    Case("no region", given(VIEW), CONFIGURATION, env={"AWS_DEFAULT_REGION": None}),
    Case("no credentials", given(VIEW), CONFIGURATION, env=NO_KEYS),
    Case("a session token", given(VIEW), env={"AWS_SESSION_TOKEN": "token"}),
    Case("endpoint from the environment", given(VIEW), env={"AWS_ENDPOINT_URL": "{url}"}),
    Case(
        "the service's endpoint from the environment",
        given(VIEW),
        env={
            "AWS_ENDPOINT_URL_PERSONALIZE_EVENTS": "{url}",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        },
    ),
    Case(
        "endpoint option over the environment",
        (*given(VIEW), "--endpoint-url", "{url}"),
        env={"AWS_ENDPOINT_URL": "http://127.0.0.1:1"},
    ),
    Case("an endpoint without scheme", (*given(VIEW), "--endpoint-url", "localhost:1"), GENERAL),
    Case(
        "an endpoint where nobody listens",
        (*given(VIEW), "--endpoint-url", "http://127.0.0.1:1"),
        GENERAL,
    ),
    Case("unsigned", (*given(VIEW), "--no-sign-request"), env=NO_KEYS),
    Case("certificates unchecked", (*given(VIEW), "--no-verify-ssl")),
    Case("timeouts", (*given(VIEW), "--cli-read-timeout", "0", "--cli-connect-timeout", "5")),
    Case("a timeout that is no number", (*given(VIEW), "--cli-read-timeout", "x"), USAGE),
    Case("output", (*given(VIEW), "--output", "table", "--color", "off", "--no-paginate")),
    Case("an unknown output", (*given(VIEW), "--output", "xml"), USAGE),
    Case("pager", (*given(VIEW), "--no-cli-pager"), 0, "--no-cli-pager", view()),
    Case("prompt", (*given(VIEW), "--no-cli-auto-prompt"), 0, "--no-cli-auto-prompt", view()),
    Case("output as YAML", (*given(VIEW), "--output", "yaml"), 0, "--output yaml", view()),
    Case(
        "AWS_REGION over AWS_DEFAULT_REGION",
        given(VIEW),
        0,
        "AWS_REGION",
        view(),
        env={"AWS_REGION": "eu-west-3"},
    ),
]

ANSWERS = [
    Case(f"answer {answer}", given(VIEW), SERVICE, answer=answer) for answer in (400, 403, 500)
]

# Where the gateway's own validation knows limits that AWS CLI leaves to the service.
DIFFERENCES = [
    Case(name, args, USAGE, differs=reason)
    for name, args, reason in [
        ("eleven events", given(*[VIEW] * 11), "the model's maximum is 10"),
        (
            "26 impressions",
            plus("impression=" + ",".join("abcdefghijklmnopqrstuvwxyz")),
            "at most 25",
        ),
        ("a long ID", plus("itemId=" + "x" * 257), "at most 256 characters"),
        ("long properties", plus(f'properties=\'{{"a":"{"x" * 1020}"}}\''), "at most 1024"),
        ("properties that are no JSON", plus("properties=red"), "must be a JSON object"),
        ("a reserved property", plus('properties=\'{"userId":"u"}\''), "AWS refuses these keys"),
        ("not a number", member('"eventValue": NaN'), "would be sent as a text"),
        ("a boolean value", member('"eventValue": true'), "is no number"),
        ("before 1970", given("eventType=x,sentAt=-5"), "no event was"),
        ("user null", (*given(VIEW), "--user-id", "null"), "a placeholder from a broken template"),
        (
            "session undefined",
            (*IDS[:2], "--session-id", "undefined", "--event-list", VIEW),
            "likewise",
        ),
        ("a query", (*given(VIEW), "--query", "a"), "there is no answer to query"),
    ]
]
