"""Cases of `--event-list`: shorthand, JSON, files, and what the members may hold."""

from tests.integration.conformance.case import IDS, USAGE, VIEW, Case, at, given, member, plus

SHORTHAND = [
    Case("one event", given(VIEW)),
    Case("two events", given(VIEW, "eventType=buy,itemId=i2,sentAt=1700000001")),
    Case("ten events", given(*[VIEW] * 10)),
    Case(
        "every member",
        plus(
            "eventId=e1,eventValue=1.5,itemId=i1,recommendationId=r1,impression=i1,i2,"
            'metricAttribution={eventAttributionSource=mail},properties=\'{"a":"b"}\''
        ),
    ),
    Case("a list of commas, amid others", plus("impression=i1,i2,i3,itemId=i4")),
    Case("a list in brackets, blanks and a last comma", plus("impression=[ i1 , i2, ]")),
    Case("one value where a list belongs", plus("impression=i1")),
    Case("a list of quoted values", plus("impression='i 1',\"i,2\",i3")),
    Case("an empty list", plus("impression=[]"), USAGE),
    Case("nothing where a list belongs", plus("impression="), USAGE),
    Case(
        "a nested structure with blanks", plus("metricAttribution={ eventAttributionSource = a b }")
    ),
    Case(
        "a nested key twice",
        plus("metricAttribution={eventAttributionSource=a,eventAttributionSource=b}"),
    ),
    Case("a text where a structure belongs", plus("metricAttribution=a"), USAGE),
    Case("an unknown nested key", plus("metricAttribution={source=a}"), USAGE),
    Case("single quotes, one escaped", plus(r"itemId='it\'s'")),
    Case("double quotes, one escaped", plus(r'itemId="say \"x\""')),
    Case("quotes and backslashes", plus(r"itemId='a\\b\n'")),
    Case("an escaped comma", plus(r"itemId=a\,b")),
    Case("text beyond ASCII", plus("itemId=größe-日本")),
    Case("an unquoted emoji", plus("itemId=😀"), USAGE),
    Case(
        "blanks around everything", given("eventType = view , sentAt = 1700000000 , itemId = a b ")
    ),
    Case("line ends between members", given("eventType=view,\n  sentAt=1700000000,\n  itemId=i1")),
    Case("a comma too many", given("eventType=view,,sentAt=1700000000")),
    Case("a key twice", plus("itemId=a,itemId=b"), USAGE),
    Case("an empty text as event", given(""), USAGE),
    Case("an empty value", plus("itemId="), USAGE),
    Case("an unknown key", plus("colour=red"), USAGE),
    Case("events parted by a comma", given(f"{VIEW},{VIEW}"), USAGE),
    Case("properties unquoted", plus('properties={"a":"b"}'), USAGE),
    Case("properties as structure", plus("properties={a=b}"), USAGE),
    Case("properties in double quotes", plus(r'properties="{\"a\": \"b\"}"')),
    Case("properties from a file", plus("properties@=file://properties.json")),
    Case(
        "a nested value from a file",
        plus("metricAttribution={eventAttributionSource@=file://tracking-id.txt}"),
    ),
    Case("a value like a file's, without @=", plus("itemId=file://none")),
    Case("@= with a missing file", plus("itemId@=file://none"), USAGE),
    Case("a number with exponent", plus("eventValue=1e2")),
    Case("a number with underscore", plus("eventValue=1_0")),
    Case("no number", plus("eventValue=much"), USAGE),
    Case("a list where a number belongs", plus("eventValue=1,2"), USAGE),
]


JSON_EVENTS = [
    Case(
        "a JSON list",
        given('[{"eventType": "view", "sentAt": 1}, {"eventType": "x", "sentAt": 2}]'),
    ),
    Case("a JSON object for a list", given('{"eventType": "view", "sentAt": 1}')),
    Case(
        "JSON objects",
        given('{"eventType": "view", "sentAt": 1}', ' {"eventType": "x", "sentAt": 2}'),
    ),
    Case("a JSON object, then shorthand", given('{"eventType": "view", "sentAt": 1}', VIEW), USAGE),
    Case("shorthand, then a JSON object", given(VIEW, '{"eventType": "view", "sentAt": 1}'), USAGE),
    Case("an empty JSON list", given("[]"), USAGE),
    Case("a JSON list of numbers", given("[1]"), USAGE),
    Case("JSON with a key twice", given('[{"eventType": "a", "eventType": "b", "sentAt": 1}]')),
    Case("no events", given(), USAGE),
    Case("an event without sentAt", given("eventType=view"), USAGE),
    Case("a number for a text", member('"itemId": 5'), USAGE),
    Case("a text for a number", member('"eventValue": "1.5"'), USAGE),
    Case("an object for properties", member('"properties": {"a": "b"}'), USAGE),
    Case("escapes in JSON", member(r'"itemId": "\u00fc \"x\" \\"')),
]

FILE_EVENTS = [
    Case("a file", given("file://list.json")),
    Case("a file named by a variable", given("file://$HOME/list.json")),
    Case("a missing file", given("file://none"), USAGE),
    Case("a file of one object", given("file://object.json"), USAGE),
    Case("a file of shorthand", given("file://shorthand.txt"), USAGE),
    Case("a file with a byte order mark", given("file://bom.json"), USAGE),
    Case("a file that is no text", given("file://binary.bin"), USAGE),
    Case("a file as bytes", given("fileb://list.json"), USAGE),
    Case("two files", given("file://list.json", "file://list.json"), USAGE),
    Case(
        "a tracking ID from a file",
        ("--tracking-id", "file://tracking-id.txt", "--session-id", "s-1", "--event-list", VIEW),
    ),
    Case("a user from a file in UTF-8", (*given(VIEW), "--user-id", "file://umlaut.txt")),
    Case("an ID as bytes", (*given(VIEW), "--user-id", "fileb://umlaut.txt"), USAGE),
    Case(
        "an ID from a missing file",
        (*IDS[:2], "--session-id", "file://none", "--event-list", VIEW),
        USAGE,
    ),
]

TIMES = [
    Case("seconds", at("1700000000")),
    Case("fractions of a second", at("1700000000.9")),
    Case("fractions in shorthand", given("eventType=view,sentAt=1700000000.999")),
    Case("milliseconds", at("1700000000000"), USAGE),
    Case("ISO 8601", at('"2024-01-01T10:00:00Z"')),
    Case("ISO 8601 with fractions", at('"2024-01-01T10:00:00.750Z"')),
    Case("ISO 8601 with an offset", at('"2024-01-01T10:00:00+05:30"')),
    Case("ISO 8601 without zone", at('"2024-01-01T10:00:00"')),
    Case("ISO 8601 in shorthand", given("eventType=view,sentAt=2024-01-01T10:00:00-08:00")),
    Case("a date", at('"2024-01-01"')),
    Case("a date in words", at('"Mon, 01 Jan 2024 10:00:00 GMT"')),
    Case("no time", at('"yesterday"'), USAGE),
]
