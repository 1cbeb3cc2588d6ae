"""`GET /pixel.gif`: one view, of a page without scripts or of a mail, in an image's address.

An image request has no Origin, so anybody's page can make one: it names no user, has no properties,
and buys nothing.
"""

from __future__ import annotations

import json
from base64 import b64decode

from flask import Response
from werkzeug.datastructures import MultiDict

from gateway.events import schemas

GIF = b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")  # 1×1, transparent
OF_EVENT = ("eventId", "eventType", "itemId", "recommendationId", "impression")


def read(query: MultiDict[str, str]) -> schemas.Request:
    """Return the request that the query stands for. Raises InvalidRequest."""
    errors = {name: ["Not in a pixel's address."] for name in query if name not in OF_EVENT}
    errors.pop("trackingId", None)
    errors |= {name: ["Twice."] for name, values in query.lists() if len(values) > 1}
    if query.get("eventType", "").strip().lower() == "purchase":
        errors["eventType"] = ["A purchase is not told by a pixel."]
    if errors:
        raise schemas.InvalidRequest(f"Invalid: {', '.join(sorted(errors))}", errors)
    event: dict[str, str | list[str]] = {name: query[name] for name in OF_EVENT if query.get(name)}
    if "impression" in event:
        event["impression"] = query["impression"].split(",")
    members = {name: query[name] for name in query if name == "trackingId"}
    return schemas.read_request(json.dumps({**members, "eventList": [event]}).encode())


def drawn(response: Response) -> Response:
    """Replace a 204 by the pixel: browsers show an image without content as broken."""
    if response.status_code == 204:
        response.status_code = 200
        response.content_type = "image/gif"
        response.set_data(GIF)
    response.headers["Cache-Control"] = "no-store"
    return response
