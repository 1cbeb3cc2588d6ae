"""The way of most tutorials: a Flask route that calls PutEvents before it answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import boto3
from flask import Flask, request

app = Flask(__name__)
personalize = boto3.client("personalize-events", region_name="us-east-1")


@app.post("/events")
def put_events() -> tuple[str, int]:
    body = request.get_json(force=True)
    personalize.put_events(
        trackingId=body["trackingId"],
        sessionId=request.cookies.get("session", "session"),
        eventList=[
            {
                **event,
                "sentAt": datetime.fromtimestamp(event["sentAt"], UTC),
                "properties": json.dumps(event["properties"]),
            }
            for event in body["eventList"]
        ],
    )
    return "", 204


@app.get("/healthz")
def healthz() -> str:
    return "ok"
