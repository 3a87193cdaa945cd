"""Factors for tests of the ledger, and people with an authenticator app."""

from typing import Any

import pyotp
from sqlalchemy import select
from support_api import Api

from otp_service.domain.audit import Event, OperatorAction, OperatorActionEntry
from otp_service.domain.totp import Factor, SealedFactor, TotpParameters
from otp_service.ledger import schema
from otp_service.services.events import record_events
from otp_service.services.factors import unlock

FACTORS = "/v1/factors"
USER = "customer-8842-b"


def factor(factor_id: str, user: str, application: str = "shop", root: str = "k1", step: int = 7) -> Factor:
    """Return a factor that was just activated by the code of a step."""
    sealed = SealedFactor(factor_id, application, f"{root}.secret", TotpParameters(), last_step=step, place=0)
    return Factor(sealed, user, f"{root}.label", created=0)


def record(api: Api) -> list[Event]:
    """Bring what happened into the ledger, as a worker does; return it."""
    context, told = api.installation.context, []
    for batch in context.store.events.take("tests", 1000):
        record_events(context, batch.events)
        context.store.events.acknowledge(batch)
        told += batch.events
    return told


class App:
    """An authenticator app on a person's phone, whose clock is Redis'."""

    def __init__(self, api: Api, user: str = USER, label: str = "ali@example.com", **members: Any) -> None:
        """Enrol it; members whose names begin with a capital are headers."""
        self.api = api
        headers = {name: members.pop(name) for name in [*members] if name[0].isupper()}
        answer = api.post(FACTORS, {"user": user, "label": label, **members}, **headers)
        assert answer.status_code == 201, answer.text
        self.user = user
        self.enrolled = answer.json
        self.id = str(self.enrolled["factor"]["id"])
        self.totp = pyotp.parse_uri(self.enrolled["uri"])

    def code(self, steps: int = 0) -> str:
        """Return the code that the phone shows now, or so many steps later."""
        return str(self.totp.generate_otp(self._step() + steps))

    def wrong(self) -> str:
        right = {self.code(steps) for steps in range(-6, 7)}
        return next(code for code in (f"{one:0{self.totp.digits}d}" for one in range(20)) if code not in right)

    def activate(self, code: str | None = None) -> dict[str, Any]:
        """Activate it by a code, the one before the present one by default."""
        return self._post("activate", {"code": code or self.code(-1)})

    def check(self, code: str, context: str | None = None, **headers: str) -> dict[str, Any]:
        return self._post("check", {"code": code, **({"context": context} if context else {})}, **headers)

    def remove(self, **body: str) -> dict[str, Any]:
        return self._post("remove", body)

    def read(self) -> dict[str, Any]:
        answer = self.api.get(f"{FACTORS}/{self.id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json)

    def unlock(self) -> int:
        act = OperatorActionEntry(OperatorAction.FACTORS_UNLOCKED, "tests", "shop")
        return unlock(self.api.installation.context, "shop", self.user, act)

    def changes(self) -> list[Any]:
        """Return what the ledger has of its changes."""
        return [one for one in self._rows(schema.factor_changes) if one["factor"] == self.id]

    def secrets_in_ledger(self) -> list[tuple[str, str, str]]:
        rows = [one for one in self._rows(schema.factors) if one["id"] == self.id]
        return [(one["secret"], one["label"], one["root_key"]) for one in rows]

    def _rows(self, table: Any) -> list[Any]:
        with self.api.installation.context.ledger.database.read() as connection:
            return list(connection.execute(select(table)).mappings())

    def _step(self) -> int:
        return int(self.api.world.client.time()[0]) // int(self.totp.interval)

    def _post(self, call: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
        answer = self.api.post(f"{FACTORS}/{self.id}/{call}", body, **headers)
        assert answer.status_code == 200, answer.text
        return dict(answer.json)
