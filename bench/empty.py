"""The ceiling: a Flask route that does nothing, served as the gateway is."""

from __future__ import annotations

from flask import Flask, Response

app = Flask(__name__)


@app.post("/events")
def put_events() -> Response:
    return Response(status=204)


@app.get("/healthz")
def healthz() -> str:
    return "ok"
