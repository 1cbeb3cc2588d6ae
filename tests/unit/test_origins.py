"""Origins: a site's own pages are let in, and nothing that only looks like them."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway import origins

WILD = "https://*.wild.example"


def admits(configured: str | list[str], origin: str) -> bool:
    """Whether a browser's Origin passes for these origins of a sites file."""
    listed = [configured] if isinstance(configured, str) else configured
    return bool(origins.pattern([origins.normalise(item) for item in listed]).match(origin))


@pytest.mark.parametrize(
    ("configured", "normal"),
    [
        ("https://shop.example.com", "https://shop.example.com"),
        ("HTTPS://Shop.Example.COM", "https://shop.example.com"),
        ("  https://shop.example.com\n", "https://shop.example.com"),
        ("https://shop.example.com:443", "https://shop.example.com"),
        ("http://shop.example.com:80", "http://shop.example.com"),
        ("http://shop.example.com:443", "http://shop.example.com:443"),
        ("https://shop.example.com:8443", "https://shop.example.com:8443"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("http://[::1]:5000", "http://[::1]:5000"),
        ("http://[0:0:0:0:0:0:0:1]:80", "http://[::1]"),
        ("https://[2001:DB8::1]", "https://[2001:db8::1]"),
        ("https://*.Example.com:443", "https://*.example.com"),
        ("https://*.example.com:8443", "https://*.example.com:8443"),
        ("https://my_shop.example.com", "https://my_shop.example.com"),
        ("https://xn--mnchen-3ya.example", "https://xn--mnchen-3ya.example"),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(configured: str, normal: str) -> None:
    assert origins.normalise(configured) == normal


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "null",
        "shop.example.com",
        "//shop.example.com",
        "ftp://shop.example.com",
        "file://",
        "https://",
        "https:shop.example.com",
        "https://shop.example.com/",
        "https://shop.example.com/page",
        "https://shop.example.com?a=1",
        "https://shop.example.com#top",
        "https://user@shop.example.com",
        "https://user:password@shop.example.com",
        "https://@shop.example.com",
        "https://shop.example.com:99999",
        "https://shop.example.com:http",
        "https://*",
        "https://*.",
        "https://*.*.example.com",
        "https://a.*.example.com",
        "https://*shop.example.com",
        "https://shop*.example.com",
        "https://shop..example.com",
        "https://.example.com",
        "https://example.com.",
        "https://-.example.com",
        "https://shop example.com",
        "https://shop.example.com https://evil.example",
        "https://shop.example.com,https://evil.example",
        "https://münchen.example",
        "https://(a|b).example.com",
        "https://.+",
        "https://[::1",
        "https://[::g]",
        "https://[*]",
        "https://[a-z]",
    ],
)
def test_a_malformed_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        origins.normalise(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("https://shop.example.com/page", "write 'https://shop.example.com'"),
        ("https://user:password@shop.example.com", "write 'https://shop.example.com'"),
        ("shop.example.com", "begins with http:// or https://"),
        ("https://a.*.example.com", "a wildcard is a leading '*.'"),
    ],
)
def test_a_refusal_says_how_to_write_it(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(hint)):
        origins.normalise(text)


@given(st.text() | st.from_regex(r"https?://[^/]{0,12}\Z"))
def test_normalising_gives_an_origin_that_stays_or_a_value_error(text: str) -> None:
    try:
        normal = origins.normalise(text)
    except ValueError:
        return
    assert origins.normalise(normal) == normal
    assert re.fullmatch(r"https?://[a-z0-9_.:\[\]*%-]+", normal)


@pytest.mark.parametrize(
    ("configured", "origin"),
    [
        ("https://shop.example.com", "https://shop.example.com"),
        ("HTTPS://SHOP.example.com", "https://shop.example.com"),
        ("https://shop.example.com:443", "https://shop.example.com"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("http://[::1]:5000", "http://[::1]:5000"),
        ("http://[0::1]", "http://[::1]"),
        (WILD, "https://x.wild.example"),
        (WILD, "https://a.b.c.wild.example"),
        (WILD, "https://my-shop_1.wild.example"),
        (WILD, "https://x.wild.example.wild.example"),
        ("http://*.localhost:3000", "http://shop.localhost:3000"),
        (["https://a.example", "https://b.example"], "https://b.example"),
    ],
)
def test_a_sites_own_origin_is_let_in(configured: str | list[str], origin: str) -> None:
    assert admits(configured, origin)


@pytest.mark.parametrize(
    ("configured", "origin"),
    [
        *(
            ("https://shop.example.com", origin)
            for origin in [
                "",
                "null",
                "*",
                "http://shop.example.com",
                "https://shop.example.com:8443",
                "https://shop.example.com:443",
                "https://shop.example.com/",
                "https://shop.example.com.",
                "https://shop.example.com.evil.example",
                "https://shopXexample.com",
                "https://shop.exampleXcom",
                "https://xshop.example.com",
                "https://www.shop.example.com",
                "https://evil.example/https://shop.example.com",
                "https://evil.example?https://shop.example.com",
                "https://shop.example.com@evil.example",
                "https://evil.example@shop.example.com",
                "https://shop.example.com\n",
                "https://shop.example.com\r\n",
                "https://evil.example\nhttps://shop.example.com",
                "https://shop.example.com\nhttps://evil.example",
                " https://shop.example.com",
                "https://shop.example.com\0",
                "https://shop.example.com, https://evil.example",
            ]
        ),
        *(
            (WILD, origin)
            for origin in [
                "https://wild.example",
                "https://.wild.example",
                "https://*.wild.example",
                "https://xwild.example",
                "https://xwild.example.evil.com",
                "https://x.wild.example.evil.com",
                "https://x.wildXexample",
                "https://evil.com/.wild.example",
                "https://evil.com/x.wild.example",
                "https://evil.com?x.wild.example",
                "https://evil.com#x.wild.example",
                "https://evil.com:80.wild.example",
                "https://user@x.wild.example",
                "https://evil.com\\.wild.example",
                "https://x..wild.example",
                "https://-.wild.example",
                "https://x.wild.example:8443",
                "http://x.wild.example",
                "https://x.wild.example\n",
                "https://x\n.wild.example",
                "https://evil.com\nhttps://x.wild.example",
                "https://ü.wild.example",
                "https://x\u3002wild.example",
                "null",
            ]
        ),
        ("http://[::1]", "http://:"),
        ("http://[::1]", "http://1"),
        ("http://[::1]:5000", "http://[::1]"),
        ("http://127.0.0.1:5000", "http://127x0.0.1:5000"),
        ("http://*.localhost:3000", "http://shop.localhost"),
        (["https://a.example", "https://b.example"], "https://a.examplehttps://b.example"),
        (["https://a.example", "https://b.example"], "https://a.example|https://b.example"),
        ([], ""),
        ([], "null"),
        ([], "https://a.example"),
    ],
)
def test_a_look_alike_is_not_let_in(configured: str | list[str], origin: str) -> None:
    assert not admits(configured, origin)


def is_real_subdomain(origin: str) -> bool:
    """The same question, asked without a regular expression."""
    scheme, separator, host = origin.partition("://")
    *labels, parent, top = host.split(".") if "." in host else ("", "", "")
    letters = set("abcdefghijklmnopqrstuvwxyz0123456789_-")
    return (
        (scheme, separator, parent, top) == ("https", "://", "wild", "example")
        and labels != []
        and all(
            label and set(label) <= letters and label[0] != "-" != label[-1] for label in labels
        )
    )


LABELS = st.sampled_from(["x", "wild", "example", "evil", "com", "-", "_", "a-b", "", "ü", "*"])
JOINTS = st.sampled_from([".", ".", ".", "", "/", "@", ":", "\n", "?", "#", "\\", "\r\n", " "])


@st.composite
def hosts(draw: st.DrawFn) -> str:
    parts = draw(st.lists(st.tuples(LABELS, JOINTS), max_size=6))
    return "".join(part for pair in parts for part in pair)


@given(
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(["https://", "http://", "https:", "", "HTTPS://", "https://\n"]),
        hosts() | st.text(max_size=6),
        st.sampled_from(["wild.example", ".wild.example", "wild-example", "wild.example:443"]),
        st.sampled_from(["", "", "", "\n", ".", "/", ".evil.com", "\0"]),
    )
)
@example("https://x.wild.example")
@example("https://a.b.wild.example")
def test_nothing_but_a_real_subdomain_matches_a_wildcard(origin: str) -> None:
    assert admits(WILD, origin) == is_real_subdomain(origin)


@given(st.text(), st.text(alphabet="abc.:*[]()+?|\\^$/\n-", max_size=12))
def test_an_exact_origin_matches_only_itself(noise: str, tail: str) -> None:
    own = "https://shop.example.com"
    for origin in (noise, own + tail, tail + own, own.replace(".", tail, 1)):
        assert admits(own, origin) == (origin == own)
