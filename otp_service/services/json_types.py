"""Types of plain numbers with another form in JSON."""

from typing import Annotated

from pydantic import PlainSerializer, WithJsonSchema

from otp_service.clock import rfc3339
from otp_service.domain.prices import format_micros

TIME_EXAMPLE = "2026-11-24T22:00:00Z"
Time = Annotated[
    int,
    PlainSerializer(rfc3339, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": [TIME_EXAMPLE]}),
]
"""Milliseconds since the epoch; in JSON RFC 3339 in UTC, whole seconds."""
Amount = Annotated[int, PlainSerializer(format_micros, return_type=str), WithJsonSchema({"type": "string"})]
"""Millionths of the currency's unit; in JSON decimal."""
