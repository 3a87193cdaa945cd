"""Makes the OpenAPI document as a file, ``dist/openapi.json``: ``make openapi``. A file has no address of its own."""

import json
from pathlib import Path

from otp_service.api.app import all_routes
from otp_service.api.docs import build_specification

DOCUMENT = Path(__file__).resolve().parents[1] / "dist" / "openapi.json"


def document() -> str:
    """Return the document of what callers of any installation read."""
    spec = build_specification(all_routes(with_metrics=True))
    return json.dumps({**spec, "servers": [{"url": "https://otp.example"}]}, ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(document(), encoding="utf-8")
