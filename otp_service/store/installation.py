"""What must stay the same as long as Redis keeps its data, and what is known of the server."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import redis

from otp_service.domain.keyring import Keyring
from otp_service.errors import RefusalName, StartRefusal, StartRefusedError
from otp_service.store import keys
from otp_service.store.connection import answered
from otp_service.store.library import PREFIX, library
from otp_service.store.records import pairs
from otp_service.store.rulesets import LoadedRuleset
from otp_service.store.scripts import ScriptRunner

NO_EVICTION: Final = "noeviction"


def eviction_refusal(policy: str) -> StartRefusal:
    """Return why a server with this ``maxmemory-policy``, which is not ``noeviction``, is refused."""
    return StartRefusal(
        RefusalName.EVICTION,
        "maxmemory-policy",
        f"With {policy} Redis may evict counters, and an evicted counter is a free guess.",
        "CONFIG SET maxmemory-policy noeviction, and in its configuration file.",
    )


def installation_refusal(differing: Sequence[str]) -> StartRefusal:
    """Return why a server is refused that was first used with something else: the names of what differs."""
    return StartRefusal(
        RefusalName.OTHER_INSTALLATION,
        "installation",
        f"Redis was first used with another {' and another '.join(differing)}: budgets would be forgotten.",
        "Restore the original, or use another Redis.",
    )


class Server:
    """The Redis or Valkey server behind an installation."""

    def __init__(
        self, client: redis.Redis, scripts: ScriptRunner, keyring: Keyring, rulesets: Iterable[LoadedRuleset]
    ) -> None:
        self._client = client
        self._scripts = scripts
        self._rulesets = {one.name: one for one in rulesets}
        self._own = {"pseudonym_key": keyring.installation, "bucket_bits": str(keyring.bucket_bits)}

    def claim(self) -> None:
        """Record this installation's pseudonym key and buckets; raise `StartRefusedError` when others are there.

        Under another key every budget and every opt-out would be forgotten; under another number of buckets
        they would be looked for in the wrong place.
        """
        with answered(), self._client.pipeline(transaction=True) as pipeline:
            for name, value in self._own.items():
                pipeline.hsetnx(keys.INSTALLATION, name, value)
            pipeline.execute()
        self.require_own()

    def require_own(self) -> None:
        """Raise `StartRefusedError` when another installation has used the server; on a new one nothing is written."""
        if differing := self.differing():
            raise StartRefusedError(installation_refusal(differing))

    def claimed(self) -> bool:
        """Tell whether an installation, this one or another, has used the server before."""
        with answered():
            return bool(self._client.exists(keys.INSTALLATION))

    def differing(self) -> list[str]:
        """Return the names of what is recorded otherwise than it is here; on a new server nothing is."""
        with answered():
            recorded = self._client.hmget(keys.INSTALLATION, list(self._own))
        return [
            name
            for (name, value), found in zip(self._own.items(), recorded, strict=True)
            if found not in {None, value.encode()}
        ]

    def check_eviction(self) -> bool:
        """Return whether the server tells that it evicts nothing, ``False`` when it does not tell.

        Raises `StartRefusedError` when it may evict counters: an evicted one is a free guess.
        """
        policy = self.setting("maxmemory-policy")
        if policy is not None and policy != NO_EVICTION:
            raise StartRefusedError(eviction_refusal(policy))
        return policy is not None

    def setting(self, name: str) -> str | None:
        """Return a setting of the server; ``None`` when it does not tell (managed services forbid it)."""
        with answered():
            try:
                return self._client.config_get(name).get(name)
            except redis.ResponseError:
                return None

    def version(self) -> str:
        """Return name and version of the server."""
        with answered():
            info = self._client.info("server")
        valkey = info.get("valkey_version")
        return f"Valkey {valkey}" if valkey else f"Redis {info.get('redis_version', 'unknown')}"

    def load_scripts(self) -> None:
        """Load the scripts and teach them the rules, so that what is broken is found at the start."""
        for ruleset in self._rulesets.values():
            self._scripts.teach(ruleset)

    def delete_other_scripts(self) -> None:
        """Delete the scripts of other releases, for nobody else would; a process that needs them loads them again."""
        with answered():
            for name in self._libraries(f"{PREFIX}*"):
                if name != library().name:
                    self._client.function_delete(name)

    def _libraries(self, pattern: str) -> list[str]:
        found: Any = self._client.function_list(pattern)
        return [pairs(one)["library_name"].decode() for one in found]

    def worker_alive(self, worker: str, seconds: int) -> None:
        """Note that a worker is alive, for ``seconds``."""
        with answered():
            stamp = self._client.time()[0]
            self._client.set(keys.WORKER, f"{stamp} {worker}", ex=seconds)

    def worker_age(self) -> int | None:
        """Return the seconds since any worker was last seen alive; ``None`` when none was lately."""
        with answered():
            seen = self._client.get(keys.WORKER)
            return self._client.time()[0] - int(seen.split()[0]) if seen else None
