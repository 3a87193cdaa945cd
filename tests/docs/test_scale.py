"""The page on sizes names metrics that exist."""

import re

from support_sources import ROOT

from otp_service.telemetry import metrics

TEXT = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")


def test_the_metrics_that_it_names_exist():
    exposed = {
        f"{metric.name}_total" if metric.type == "counter" else metric.name for metric in metrics.REGISTRY.collect()
    }

    assert set(re.findall(r"otp_service_\w+", TEXT)) - exposed == set()


def test_it_is_short():
    assert len(TEXT.split()) <= 700
