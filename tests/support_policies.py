"""Policies with prepared answers."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

from prometheus_client.parser import text_string_to_metric_families

from otp_service.bootstrap import Installation
from otp_service.policies.base import ALLOW, Policies, PolicyRequest, PolicyRunner, PolicySettings, Verdict
from otp_service.telemetry import metrics

NUMBER = "+923001234567"
REQUEST = PolicyRequest(NUMBER, "PK", "shop", "login", "sms", "vf_k1_00" + 32 * "0")

Answer = Verdict | Exception | Callable[[], Any]


class Judge:
    """A policy that gives its answers in turn and repeats the last; without answers, it allows."""

    kind: ClassVar[str] = "judge"
    Settings = PolicySettings

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers) or [ALLOW]
        self.requests: list[PolicyRequest] = []

    def judge(self, request: PolicyRequest) -> Any:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer

    @property
    def channels(self) -> list[str]:
        """The channels of its requests."""
        return [request.channel for request in self.requests]


def asked(name: str, policy: Any, threads: int = 4, **members: Any) -> PolicyRunner:
    """Return a configured policy; *unknown* is allowed unless the members say otherwise."""
    return PolicyRunner(name, policy, PolicySettings.model_validate({"unknown": "allow", **members}), threads)


def under(installation: Installation, *policies: PolicyRunner) -> Installation:
    """Return an installation with these policies in place of the configured ones."""
    asking = Policies(policies, installation.settings.worker.concurrency)
    return replace(installation, context=replace(installation.context, policies=asking))


def verdicts(policy: str) -> dict[str, float]:
    """Return how often a policy gave each verdict, by the metrics."""
    return {
        sample.labels["verdict"]: sample.value
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
        if sample.name == "otp_service_policy_verdicts_total" and sample.labels["policy"] == policy
    }
