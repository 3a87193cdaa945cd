"""The operations of the API, one method each; docs of the service (`/docs`) tell all members.

`idempotency_key` is made anew for each call and kept in its repetitions. Give one of your own where the same wish may
come twice, such as the id of a form that a double click sends: then the second is answered as the first was.
Calls without one that would do something twice are tried once. Every method raises `OtpError`.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from otp_service_client import answers
from otp_service_client.calls import FAST, SLOW, Engine, Kind, Resource, key_of, method, part
from otp_service_client.inputs import ClientToken, Consent, HumanCheck, PageRequest, Transaction

Time: TypeAlias = datetime | str
"""A `datetime` with its time zone, or RFC 3339 in UTC."""


class Verifications(Resource[Kind]):
    """Proofs that a person holds a number."""

    seconds = FAST

    @method
    async def start(
        self,
        to: str,
        *,
        client_ip: str | None = None,
        purpose: str | None = None,
        context: str | None = None,
        user: str | None = None,
        channel: str | None = None,
        locale: str | None = None,
        region: str | None = None,
        transaction: Transaction | None = None,
        consent: Consent | None = None,
        human_check: HumanCheck | None = None,
        metadata: Mapping[str, str] | None = None,
        after: str | None = None,
        client_token: ClientToken | None = None,
        page: PageRequest | None = None,
        idempotency_key: str | None = None,
    ) -> answers.StartedVerification:
        """Send a code to a number. `client_ip` is the person's address, `context` your name of the device."""
        body = {
            "to": to, "client_ip": client_ip, "purpose": purpose, "context": context, "user": user, "channel": channel,
            "locale": locale, "region": region, "transaction": transaction, "consent": consent,
            "human_check": human_check, "metadata": metadata, "after": after, "client_token": client_token,
            "page": page,
        }  # fmt: skip
        key = key_of(idempotency_key)
        return await self.call("POST /v1/verifications", answers.StartedVerification, body, key=key)

    @method
    async def get(self, verification_id: str) -> answers.Verification:
        """Read a verification and its deliveries. Its `status` is no proof: only a check is."""
        request = f"GET /v1/verifications/{part(verification_id)}"
        return await self.call(request, answers.Verification, expected_id=verification_id)

    @method
    async def check(
        self,
        verification_id: str,
        code: str,
        *,
        to: str | None = None,
        region: str | None = None,
        transaction: Transaction | None = None,
        idempotency_key: str | None = None,
    ) -> answers.CheckResult:
        """Compare what the person typed, once. A wrong code is no error: look at `valid`.

        With the number that you log in as `to`, a verification of another number raises `Refused`, `number-mismatch`.
        """
        request = f"POST /v1/verifications/{part(verification_id)}/check"
        body = {"code": code, "to": to, "region": region, "transaction": transaction}
        key = key_of(idempotency_key)
        return await self.call(request, answers.CheckResult, body, key=key, expected_id=verification_id)

    @method
    async def resend(
        self, verification_id: str, *, channel: str | None = None, idempotency_key: str | None = None
    ) -> answers.Verification:
        """Send the code again, not before `resend_after`."""
        request = f"POST /v1/verifications/{part(verification_id)}/resend"
        key = key_of(idempotency_key)
        return await self.call(
            request, answers.Verification, {"channel": channel}, key=key, expected_id=verification_id
        )

    @method
    async def cancel(self, verification_id: str, *, idempotency_key: str | None = None) -> answers.Verification:
        """End a verification: its code is dead."""
        request = f"POST /v1/verifications/{part(verification_id)}/cancel"
        key = key_of(idempotency_key)
        return await self.call(request, answers.Verification, {}, key=key, expected_id=verification_id)


class PageResults(Resource[Kind]):
    """Results of hosted pages."""

    seconds = FAST

    @method
    async def redeem(self, result: str) -> answers.PageResult:
        """Use up the result that a person's browser brought back. Tried once."""
        return await self.call("POST /v1/page-results/redeem", answers.PageResult, {"result": result}, once=True)


class Proofs(Resource[Kind]):
    """Signed statements of approvals; `otp_service_client.proofs.verify` checks one without asking."""

    seconds = FAST

    @method
    async def redeem(self, proof: str) -> answers.RedeemedProof:
        """Use up a proof. Tried once."""
        return await self.call("POST /v1/proofs/redeem", answers.RedeemedProof, {"proof": proof}, once=True)

    @method
    async def keys(self) -> tuple[answers.ProofKey, ...]:
        """Return every key that ever signed, the newest first."""
        return await self.call("GET /v1/proofs/keys", tuple[answers.ProofKey, ...], seconds=SLOW)

    @method
    async def key_set(self) -> answers.KeySet:
        """Return the keys that sign now, or did a moment ago."""
        return await self.call("GET /.well-known/jwks.json", answers.KeySet)


class Factors(Resource[Kind]):
    """Authenticator apps."""

    @method
    async def enrol(
        self,
        user: str,
        label: str,
        *,
        type: str | None = None,  # noqa: A002 - as the API has it
        qr: str | None = None,
        uri: str | None = None,
        idempotency_key: str | None = None,
    ) -> answers.Enrolment:
        """Make a secret for an app, or take over that of a `uri`. `qr` is `svg` or `png`."""
        body = {"user": user, "label": label, "type": type, "qr": qr, "uri": uri}
        return await self.call("POST /v1/factors", answers.Enrolment, body, key=key_of(idempotency_key))

    @method
    async def activate(
        self, factor_id: str, code: str, *, context: str | None = None, idempotency_key: str | None = None
    ) -> answers.ActivationResult:
        """Compare the first code."""
        request, body = f"POST /v1/factors/{part(factor_id)}/activate", {"code": code, "context": context}
        key = key_of(idempotency_key)
        return await self.call(request, answers.ActivationResult, body, key=key, expected_id=factor_id)

    @method
    async def check(
        self,
        factor_id: str,
        code: str,
        *,
        user: str | None = None,
        purpose: str | None = None,
        after: str | None = None,
        context: str | None = None,
        idempotency_key: str | None = None,
    ) -> answers.FactorCheckResult:
        """Compare a code of an app. Name the `user` of your session, and the `purpose`."""
        request = f"POST /v1/factors/{part(factor_id)}/check"
        body = {"code": code, "user": user, "purpose": purpose, "after": after, "context": context}
        key = key_of(idempotency_key)
        return await self.call(request, answers.FactorCheckResult, body, key=key, seconds=FAST, expected_id=factor_id)

    @method
    async def rename(self, factor_id: str, label: str) -> answers.Factor:
        """Change what the list of a user's apps shows."""
        return await self.call(f"POST /v1/factors/{part(factor_id)}/rename", answers.Factor, {"label": label})

    @method
    async def remove(
        self, factor_id: str, *, code: str | None = None, reason: str | None = None, context: str | None = None
    ) -> answers.FactorCheckResult:
        """Remove an app, with a `code` of it or a `reason` (`lost`, `stolen`, `replaced` ...). Tried once."""
        request = f"POST /v1/factors/{part(factor_id)}/remove"
        body = {"code": code, "reason": reason, "context": context}
        return await self.call(request, answers.FactorCheckResult, body, once=True, expected_id=factor_id)

    @method
    async def get(self, factor_id: str) -> answers.Factor:
        """Read an app; its secret is never shown again."""
        return await self.call(f"GET /v1/factors/{part(factor_id)}", answers.Factor)


class UserFactors(Resource[Kind]):
    """Authenticator apps by user."""

    @method
    async def find(self, user: str) -> answers.UserFactors:
        """Return the active apps of a user."""
        return await self.call("POST /v1/user-factors", answers.UserFactors, {"user": user})


class RecoveryCodes(Resource[Kind]):
    """Recovery codes for a lost app."""

    @method
    async def make(self, user: str) -> answers.RecoveryCodes:
        """Make ten, which replace all that the user had."""
        return await self.call("POST /v1/recovery-codes", answers.RecoveryCodes, {"user": user})

    @method
    async def check(
        self,
        user: str,
        code: str,
        *,
        purpose: str | None = None,
        after: str | None = None,
        context: str | None = None,
        idempotency_key: str | None = None,
    ) -> answers.RecoveryCheckResult:
        """Use a code up; the answer has a new one for it."""
        body = {"user": user, "code": code, "purpose": purpose, "after": after, "context": context}
        key = key_of(idempotency_key)
        return await self.call("POST /v1/recovery-codes/check", answers.RecoveryCheckResult, body, key=key)


class Consents(Resource[Kind]):
    """Consents to messages."""

    @method
    async def record(
        self,
        to: str,
        consent: Consent,
        *,
        purpose: str | None = None,
        region: str | None = None,
        client_ip: str | None = None,
    ) -> answers.ConsentRecord:
        """Record a consent apart from a start."""
        body = {"to": to, "purpose": purpose, "region": region, "client_ip": client_ip, **consent}
        return await self.call("PUT /v1/consents", answers.ConsentRecord, body)

    @method
    async def find(self, to: str, *, purpose: str | None = None, region: str | None = None) -> answers.ConsentRecord:
        """Read the consents of a number for a purpose."""
        body = {"to": to, "purpose": purpose, "region": region}
        return await self.call("POST /v1/consents/find", answers.ConsentRecord, body)

    @method
    async def withdraw(
        self, to: str, *, purpose: str | None = None, region: str | None = None
    ) -> answers.ConsentRecord:
        """Record a withdrawal."""
        body = {"to": to, "purpose": purpose, "region": region}
        return await self.call("POST /v1/consents/withdraw", answers.ConsentRecord, body)


class Suppressions(Resource[Kind]):
    """Numbers that get no messages."""

    @method
    async def record(
        self,
        to: str,
        *,
        reason: str | None = None,
        until: Time | None = None,
        scope: str | None = None,
        region: str | None = None,
    ) -> answers.SuppressionRecord:
        """Stop the application's messages to a number."""
        body = {"to": to, "reason": reason, "until": until, "scope": scope, "region": region}
        return await self.call("PUT /v1/suppressions", answers.SuppressionRecord, body)

    @method
    async def find(self, to: str, *, region: str | None = None) -> answers.SuppressionRecord:
        """Read the suppressions of a number."""
        return await self.call("POST /v1/suppressions/find", answers.SuppressionRecord, {"to": to, "region": region})

    @method
    async def lift(
        self,
        to: str,
        *,
        consent: Consent | None = None,
        purpose: str | None = None,
        scope: str | None = None,
        region: str | None = None,
    ) -> answers.SuppressionRecord:
        """Allow messages again; after a stop of the person this needs a later `consent`."""
        body = {"to": to, "consent": consent, "purpose": purpose, "scope": scope, "region": region}
        return await self.call("POST /v1/suppressions/lift", answers.SuppressionRecord, body)


class Subjects(Resource[Kind]):
    """Data held of numbers."""

    @method
    async def freeze(self, to: str, *, reason: str | None = None, region: str | None = None) -> answers.Freeze:
        """Stop a number at once, for a customer who reports fraud."""
        return await self.call(
            "POST /v1/subjects/freeze", answers.Freeze, {"to": to, "reason": reason, "region": region}
        )

    @method
    async def unfreeze(self, to: str, *, region: str | None = None) -> answers.Freeze:
        """Lift a freeze."""
        return await self.call("POST /v1/subjects/unfreeze", answers.Freeze, {"to": to, "region": region})

    @method
    async def export(self, to: str, *, region: str | None = None) -> answers.SubjectExport:
        """Return all that is held of a number."""
        return await self.call("POST /v1/subjects/export", answers.SubjectExport, {"to": to, "region": region})

    @method
    async def erase(self, to: str, *, region: str | None = None) -> answers.Erasure:
        """Erase the data of a number, but for what disputes need."""
        return await self.call("POST /v1/subjects/erase", answers.Erasure, {"to": to, "region": region})


class Users(Resource[Kind]):
    """Data held of users."""

    @method
    async def freeze(self, user: str, *, reason: str | None = None) -> answers.UserFreeze:
        """Accept no code of a user's apps, and no recovery code."""
        return await self.call("POST /v1/users/freeze", answers.UserFreeze, {"user": user, "reason": reason})

    @method
    async def unfreeze(self, user: str) -> answers.UserFreeze:
        """Lift a freeze."""
        return await self.call("POST /v1/users/unfreeze", answers.UserFreeze, {"user": user})

    @method
    async def export(self, user: str) -> answers.UserExport:
        """Return all that is held of a user."""
        return await self.call("POST /v1/users/export", answers.UserExport, {"user": user})

    @method
    async def erase(self, user: str) -> answers.Erasure:
        """Remove a user's apps and recovery codes."""
        return await self.call("POST /v1/users/erase", answers.Erasure, {"user": user})


class Endpoints(Resource[Kind]):
    """Endpoints for webhooks; `otp_service_client.webhooks.verify` checks what arrives there."""

    @method
    async def add(self, url: str, types: Sequence[str]) -> answers.IssuedEndpoint:
        """Make an endpoint. Its secret is in this answer and nowhere else. Tried once."""
        body = {"url": url, "types": types}
        return await self.call("POST /v1/endpoints", answers.IssuedEndpoint, body, once=True)

    @method
    async def list(self) -> tuple[answers.Endpoint, ...]:
        """Return the endpoints, oldest first."""
        return await self.call("GET /v1/endpoints", tuple[answers.Endpoint, ...])

    @method
    async def get(self, endpoint_id: str) -> answers.Endpoint:
        """Read an endpoint."""
        return await self.call(f"GET /v1/endpoints/{part(endpoint_id)}", answers.Endpoint)

    @method
    async def change(self, endpoint_id: str, url: str, types: Sequence[str]) -> answers.Endpoint:
        """Replace address and types."""
        body = {"url": url, "types": types}
        return await self.call(f"PUT /v1/endpoints/{part(endpoint_id)}", answers.Endpoint, body)

    @method
    async def rotate(self, endpoint_id: str, *, overlap: int | None = None) -> answers.IssuedEndpoint:
        """Replace the secret; the old one signs too for `overlap` seconds, by default a day. Tried once."""
        request = f"POST /v1/endpoints/{part(endpoint_id)}/rotate"
        return await self.call(request, answers.IssuedEndpoint, {"overlap": overlap}, once=True)

    @method
    async def enable(self, endpoint_id: str) -> answers.Endpoint:
        """Send webhooks again from now on."""
        return await self.call(f"POST /v1/endpoints/{part(endpoint_id)}/enable", answers.Endpoint, {})

    @method
    async def disable(self, endpoint_id: str) -> answers.Endpoint:
        """Hold its webhooks."""
        return await self.call(f"POST /v1/endpoints/{part(endpoint_id)}/disable", answers.Endpoint, {})

    @method
    async def remove(self, endpoint_id: str) -> answers.Endpoint:
        """Remove it for good. Tried once."""
        return await self.call(f"POST /v1/endpoints/{part(endpoint_id)}/remove", answers.Endpoint, {}, once=True)

    @method
    async def replay(self, endpoint_id: str, since: Time, *, delivered: bool | None = None) -> answers.Replay:
        """Send what was held or failed, with `delivered` everything, since a time. Tried once."""
        request = f"POST /v1/endpoints/{part(endpoint_id)}/replay"
        return await self.call(request, answers.Replay, {"since": since, "delivered": delivered}, once=True)


class Webhooks(Resource[Kind]):
    """Webhooks and their deliveries."""

    @method
    async def list(
        self,
        *,
        endpoint: str | None = None,
        verification: str | None = None,
        status: str | None = None,
        before: Time | None = None,
    ) -> tuple[answers.Webhook, ...]:
        """Return the newest 100, or those before a time."""
        query = {"endpoint": endpoint, "verification": verification, "status": status, "before": before}
        return await self.call("GET /v1/webhooks", tuple[answers.Webhook, ...], query=query)

    @method
    async def replay(self, webhook_id: str) -> answers.Replay:
        """Send a webhook once more. Tried once."""
        return await self.call(f"POST /v1/webhooks/{part(webhook_id)}/replay", answers.Replay, {}, once=True)


class Stats(Resource[Kind]):
    """Counts of the application: the hours that begin at `since` or later, and before `until`, by default now.

    `by` names the members to group rows by, such as `["day", "country"]`; by default there is one row of all.
    """

    @method
    async def verifications(
        self, since: Time, *, until: Time | None = None, by: Sequence[str] | None = None
    ) -> answers.VerificationStats:
        """Count verifications: started, approved, and their cost."""
        return await self.call(
            "GET /v1/stats/verifications", answers.VerificationStats, query=_stats_query(since, until, by)
        )

    @method
    async def messages(
        self, since: Time, *, until: Time | None = None, by: Sequence[str] | None = None
    ) -> answers.MessageStats:
        """Count messages by outcome."""
        return await self.call("GET /v1/stats/messages", answers.MessageStats, query=_stats_query(since, until, by))

    @method
    async def refusals(
        self, since: Time, *, until: Time | None = None, by: Sequence[str] | None = None
    ) -> answers.RefusalStats:
        """Count refusals of the rules against abuse."""
        return await self.call("GET /v1/stats/refusals", answers.RefusalStats, query=_stats_query(since, until, by))

    @method
    async def delays(
        self, since: Time, *, until: Time | None = None, by: Sequence[str] | None = None
    ) -> answers.DelayStats:
        """Count delays until sending, delivery and approval."""
        return await self.call("GET /v1/stats/delays", answers.DelayStats, query=_stats_query(since, until, by))


def _stats_query(since: Time, until: Time | None, by: Sequence[str] | None) -> dict[str, Any]:
    return {"from": since, "until": until, "by": ",".join(by) if by else None}


class Sandbox(Resource[Kind]):
    """Messages that the sandbox caught: for tests, never in production."""

    seconds = FAST

    @method
    async def messages(self, *, verification: str | None = None) -> tuple[answers.CaughtMessage, ...]:
        """Return the messages, newest first."""
        return await self._caught(verification)

    @method
    async def code_of(self, verification_id: str, *, within: float = 5.0) -> str:
        """Return the code of a verification, as the handset would show it.

        A worker needs a moment to send it; raises `TimeoutError` where it is not there within these seconds.
        """
        for _ in range(int(within / _LOOK) + 1):
            for message in await self._caught(verification_id):
                if code := re.search(r"\b\d{6,8}\b", message.text):
                    return code[0]
            await self.engine.sleep(_LOOK)
        raise TimeoutError("the sandbox caught no message with a code")

    async def _caught(self, verification: str | None) -> tuple[answers.CaughtMessage, ...]:
        request, query = "GET /v1/sandbox/messages", {"verification": verification}
        return await self.call(request, tuple[answers.CaughtMessage, ...], query=query)


_LOOK = 0.1
"""Seconds between two looks into the sandbox."""


class Applications(Resource[Kind]):
    """Applications that may call the service."""

    @method
    async def list(self) -> tuple[answers.Application, ...]:
        """Return the applications."""
        return await self.call("GET /v1/admin/applications", tuple[answers.Application, ...])

    @method
    async def add(self, name: str, settings: Mapping[str, Any]) -> answers.Application:
        """Make an application; `settings` is its section as in a configuration file. Tried once."""
        body = {"name": name, "settings": settings}
        return await self.call("POST /v1/admin/applications", answers.Application, body, once=True)

    @method
    async def get(self, name: str) -> answers.Application:
        """Read an application."""
        return await self.call(f"GET /v1/admin/applications/{part(name)}", answers.Application)

    @method
    async def change(self, name: str, settings: Mapping[str, Any]) -> answers.Application:
        """Replace the settings of an application."""
        request = f"PUT /v1/admin/applications/{part(name)}"
        return await self.call(request, answers.Application, {"settings": settings})


class Keys(Resource[Kind]):
    """API keys of applications."""

    @method
    async def list(self, name: str) -> tuple[answers.ApiKey, ...]:
        """Return the keys of the application of a name, oldest first."""
        return await self.call(f"GET /v1/admin/applications/{part(name)}/keys", tuple[answers.ApiKey, ...])

    @method
    async def issue(
        self, name: str, scopes: Sequence[str], *, addresses: Sequence[str] | None = None
    ) -> answers.IssuedKey:
        """Make a key. It is in this answer and nowhere else. Tried once."""
        body = {"scopes": scopes, "addresses": addresses}
        return await self.call(f"POST /v1/admin/applications/{part(name)}/keys", answers.IssuedKey, body, once=True)

    @method
    async def rotate(self, name: str, key_id: str, *, overlap: int | None = None) -> answers.IssuedKey:
        """Replace a key; the old one goes on for `overlap` seconds, by default a day. Tried once."""
        request = f"POST /v1/admin/applications/{part(name)}/keys/{part(key_id)}/rotate"
        return await self.call(request, answers.IssuedKey, {"overlap": overlap}, once=True)

    @method
    async def revoke(self, name: str, key_id: str) -> answers.ApiKey:
        """End a key for good."""
        request = f"POST /v1/admin/applications/{part(name)}/keys/{part(key_id)}/revoke"
        return await self.call(request, answers.ApiKey, {})


class Admin(Resource[Kind]):
    """For operators: calls that need a key with the scope `admin`."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.applications: Applications[Kind] = Applications(engine)
        self.keys: Keys[Kind] = Keys(engine)
