"""A dataset's schema: Avro JSON, as Amazon Personalize takes it, → its columns."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from gateway.events import strict_json

# Columns that events have members for; the others are filled from properties.
EVENT_COLUMNS = frozenset(
    {
        "USER_ID", "ITEM_ID", "TIMESTAMP", "EVENT_TYPE", "EVENT_VALUE", "IMPRESSION",
        "RECOMMENDATION_ID",
    }
)  # fmt: skip

NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)
TYPES = frozenset({"string", "int", "long", "float", "double", "boolean", "null"})


class Column(NamedTuple):
    """A column with its Avro types: several, one of them `null`, where it may be left out."""

    name: str
    types: frozenset[str]

    @property
    def property_key(self) -> str:
        """Return the key of `properties` that fills it: `basketSize` for `BASKET_SIZE`."""
        first, *others = self.name.lower().split("_")
        return first + "".join(word.capitalize() for word in others)


def parse_columns(text: bytes | str) -> list[Column]:
    """Return the columns of a schema, in its order; raise ValueError with what is wrong."""
    schema = strict_json.loads(text)
    columns = schema.get("fields") if isinstance(schema, dict) else None
    if not isinstance(columns, list):
        raise ValueError('not an Avro schema: it has no list "fields"')
    return [_column(field) for field in columns]


def _column(field: Any) -> Column:
    name = field.get("name") if isinstance(field, dict) else None
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"a field without a proper name: {strict_json.dumps(field)}")
    types = field.get("type")
    several = types if isinstance(types, list) else [types]
    if not several or not all(isinstance(one, str) and one in TYPES for one in several):
        raise ValueError(
            f"{name}: its type {strict_json.dumps(types)} is none of {', '.join(sorted(TYPES))}"
        )
    return Column(name, frozenset(several))
