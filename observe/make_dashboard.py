"""Makes Grafana's dashboard of the panels: ``python observe/make_dashboard.py``; the tests see whether it was."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from panels import ROWS, Panel

DASHBOARD = Path(__file__).resolve().parent / "grafana" / "dashboards" / "otp-service.json"
_SOURCE = {"type": "prometheus", "uid": "prometheus"}
_WIDTH, _HEIGHT, _ACROSS = 8, 8, 3


def document() -> str:
    """Return the text of the dashboard."""
    dashboard = {
        "uid": "otp-service",
        "title": "otp-service",
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "timezone": "utc",
        "refresh": "5s",
        "time": {"from": "now-30m", "to": "now"},
        "panels": list(_panels()),
    }
    return json.dumps(dashboard, indent=2) + "\n"


def _panels() -> Iterator[dict[str, Any]]:
    top, number = 0, 0
    for row in ROWS:
        number += 1
        place = {"x": 0, "y": top, "w": _WIDTH * _ACROSS, "h": 1}
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}
        for position, panel in enumerate(row.panels):
            number += 1
            down, across = divmod(position, _ACROSS)
            place = {"x": _WIDTH * across, "y": top + 1 + _HEIGHT * down, "w": _WIDTH, "h": _HEIGHT}
            yield {"id": number, "gridPos": place, **_panel(panel)}
        top += 1 + _HEIGHT * -(-len(row.panels) // _ACROSS)


def _panel(panel: Panel) -> dict[str, Any]:
    lines = panel.kind == "timeseries"
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, **({} if lines else {"min": 0})}, "overrides": []},
        "options": {} if lines else {"reduceOptions": {"calcs": ["lastNotNull"]}},
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": _SOURCE,
                "expr": query.expr,
                "legendFormat": query.legend or panel.title,
                "range": lines,
                "instant": not lines,
            }
            for place, query in enumerate(panel.queries)
        ],
    }


if __name__ == "__main__":
    DASHBOARD.write_text(document(), encoding="utf-8")
