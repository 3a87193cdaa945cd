"""Asks a Prometheus everything that is provisioned: each panel's queries, and each rule: ``check.py URL``.

Ends with 1 when a query is an error, when one of a panel has no answer, or when a rule could not be evaluated. That an
alert does not fire is well; those that fire are named.
"""

import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

DASHBOARD = Path(__file__).resolve().parent / "grafana" / "dashboards" / "otp-service.json"


def main() -> int:
    """Ask, and print a line for each."""
    base = sys.argv[1]
    wrong = 0
    for title, expr in queries():
        answers = len(ask(base, "query", query=expr)["result"])
        wrong += not answers
        print(f"{'ok' if answers else 'NO ANSWER':9} {answers:3} series  {title}")
    for group in ask(base, "rules")["groups"]:
        for rule in group["rules"]:
            answers = len(ask(base, "query", query=rule["query"])["result"])
            wrong += rule["health"] != "ok"
            print(f"{rule['health']:9} {answers:3} series  {rule['name']} {rule.get('state', '')}".rstrip())
    print(f"\n{f'{wrong} without an answer' if wrong else 'Everything answers'}.")
    return 1 if wrong else 0


def queries() -> list[tuple[str, str]]:
    """Return the title of each panel and its queries."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return [(panel["title"], target["expr"]) for panel in panels for target in panel.get("targets", ())]


def ask(base: str, what: str, **parameters: str) -> Any:
    """Return what Prometheus answers; raise `urllib.error.HTTPError` for a query that it does not understand."""
    with urlopen(f"{base}/api/v1/{what}?{urlencode(parameters)}", timeout=30) as answer:
        return json.load(answer)["data"]


if __name__ == "__main__":
    sys.exit(main())
