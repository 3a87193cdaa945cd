"""Makes Kubernetes' form of the rules: ``python observe/make_prometheus_rule.py``; the tests see whether it was."""

from pathlib import Path

RULES = Path(__file__).resolve().parent / "prometheus" / "rules"
MADE = RULES.parents[2] / "deploy" / "kubernetes" / "base" / "prometheus-rule.yaml"
_OF_OURS = ("alerts.yml", "objectives.yml")
"""Those of Redis' exporter would alert where there is none."""
_HEAD = """\
# Made of observe/prometheus/rules by `python observe/make_prometheus_rule.py`: change those.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: otp-service
spec:
  groups:
"""


def document() -> str:
    """Return the text of the manifest: the groups as they are, a step further in."""
    files = ((RULES / name).read_text(encoding="utf-8").partition("\ngroups:\n")[2] for name in _OF_OURS)
    return _HEAD + "".join(f"  {line}\n" for text in files for line in text.splitlines())


if __name__ == "__main__":
    MADE.write_text(document(), encoding="utf-8")
