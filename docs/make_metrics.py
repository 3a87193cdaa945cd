"""Makes docs/metrics.md, the list of all metrics, from their table: ``make docs``.

The tests fail when the document is not what this makes.
"""

from pathlib import Path

from otp_service.api.dialects import load_dialects
from otp_service.telemetry.metrics import METRICS, Counter, Metric

DOCUMENT = Path(__file__).with_name("metrics.md")
BEGINNING = """\
# Metrics

For operators: every metric, made by `make docs` from [`telemetry/metrics.py`](../otp_service/telemetry/metrics.py) and
the installed dialects. Where they are read, and when to be woken by them, is in [operations](operations.md#metrics).
No label holds personal data, and each takes few values: [data](data.md#in-metrics) says what they are. `worker`
reports all gauges, `serve` only `otp_service_build_info`. Both report `process_*`: memory, processor time, open files
and start of a process and its children together.

| metric | kind | labels | tells |
|---|---|---|---|
"""


def document() -> str:
    """Return the text of the document."""
    load_dialects()  # which declare metrics
    return BEGINNING + "".join(map(_row, METRICS))


def _row(metric: Metric) -> str:
    name = f"{metric.name}_total" if isinstance(metric, Counter) else metric.name
    labels = " ".join(f"`{label}`" for label in metric.labels) or "none"
    return f"| `{name}` | {metric.kind} | {labels} | {metric.description} |\n"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
