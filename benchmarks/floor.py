"""The floors that the service is measured against: the same server and framework, doing next to nothing."""

import os
import threading

import redis
from flask import Flask, Response

_BODY = b'{"status":"ok"}'


def constant() -> Flask:
    """Answer the same bytes to every request."""
    app = Flask(__name__)

    @app.post("/")
    def answer() -> Response:
        return Response(_BODY, mimetype="application/json")

    return app


def one_get() -> Flask:
    """Answer the same bytes, after one ``GET`` from Redis by redis-py's own client."""
    app = Flask(__name__)
    held = threading.local()

    @app.post("/")
    def answer() -> Response:
        client = getattr(held, "client", None)
        if client is None:
            client = held.client = redis.Redis.from_url(os.environ["BENCH_REDIS_URL"])
        client.get("otp:bench")
        return Response(_BODY, mimetype="application/json")

    return app
