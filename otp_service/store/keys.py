"""Every key in Redis, built here and nowhere else.

What a script touches together carries one hash tag, the number's bucket, so that Redis Cluster stays possible.
What each holds, and how long it lives, is in `otp_service.store.inventory`. Windows are named by rule and length, not
by amount, in the form that the ``limits`` library reads under the prefix ``otp``.
"""

PREFIX = "otp"

INSTALLATION = f"{PREFIX}:installation"
"""Fingerprint of the pseudonym key and number of buckets: what must never change while Redis keeps its data."""

WORKER = f"{PREFIX}:worker"
"""String: when a worker was last seen alive."""

MIRROR = f"{PREFIX}:mirror/head"
"""Hash: which ledger the mirror is built of, and the place in it that it has come to."""

MIRROR_BUILDER = f"{PREFIX}:mirror/builder"
"""String: who builds the mirror. Lives for half a minute."""

FENCE = f"{PREFIX}:fence"
"""Hash: when the store was fenced, and until when fewer messages may be sent. Lives for a day."""

REPLIES = f"{PREFIX}:replies"
"""List: replies to what people wrote back, sealed, that no worker has sent yet. Lives for ten minutes."""


def mirrored(bucket: str, pseudonym: str) -> str:
    """Hash: what the ledger says of a number. Once it says nothing any more, it lives for another day."""
    return f"{mirrored_numbers(bucket)}{pseudonym}"


def mirrored_numbers(bucket: str) -> str:
    """Return the beginning of the keys of mirrored numbers."""
    return f"{PREFIX}:{{{bucket}}}:mirror/number/"


def record(bucket: str, verification_id: str) -> str:
    """Hash: a verification. Lives as long as its code, and the grace."""
    return f"{PREFIX}:{{{bucket}}}:v:{verification_id}"


def dispatch(bucket: str, dispatch_id: str) -> str:
    """Hash: which record and slot a dispatch belongs to. Lives as long as the record."""
    return f"{PREFIX}:{{{bucket}}}:dispatch:{dispatch_id}"


def idempotency(bucket: str, application: str, key: str) -> str:
    """Hash: what an idempotency key of an application stood for; ``key`` is a fingerprint.

    A start's lives 24 hours, any other as long as the record that it is about.
    """
    return f"{PREFIX}:{{{bucket}}}:idempotency:{application}:{key}"


def lane(bucket: str, kind: str, application: str, country: str, channel: str) -> str:
    """Stream: messages of an application to deliver that have a route in common.

    ``kind`` is that of their purposes, or that of retries.
    """
    return f"{lanes_of(bucket, kind)}{application}:{country}:{channel}"


def lanes_of(bucket: str, kind: str) -> str:
    """Return the beginning of the lanes of a kind."""
    return f"{PREFIX}:{{{bucket}}}:outbox:{kind}:"


def lanes(bucket: str) -> str:
    """Hash: the keys of all lanes, and how many messages were ever put into each."""
    return f"{PREFIX}:{{{bucket}}}:lanes"


def ready(bucket: str) -> str:
    """Set: the keys of the lanes that may hold messages that no worker has taken yet."""
    return f"{PREFIX}:{{{bucket}}}:ready"


def wake(bucket: str) -> str:
    """List: wakes a worker for each of its members. Lives for a minute."""
    return f"{PREFIX}:{{{bucket}}}:wake"


def queue(bucket: str, kind: str, application: str, country: str, channel: str) -> tuple[str, str, str, str]:
    """Return all that a script needs to put a job into a lane."""
    return lane(bucket, kind, application, country, channel), lanes(bucket), ready(bucket), wake(bucket)


def delayed(bucket: str) -> str:
    """Sorted set: messages to deliver later, by time in milliseconds."""
    return f"{PREFIX}:{{{bucket}}}:delayed"


def calls(bucket: str) -> str:
    """Hash: the calls to gateways that are under way, by lane and entry of their jobs. Lives as long as the events."""
    return f"{PREFIX}:{{{bucket}}}:calls"


def dead_letters(bucket: str) -> str:
    """Stream: messages that were given up, with the reason."""
    return f"{PREFIX}:{{{bucket}}}:dead"


def events(bucket: str) -> str:
    """Stream: what happened, without personal data."""
    return f"{PREFIX}:{{{bucket}}}:events"


def recent(bucket: str, pseudonym: str) -> str:
    """List: a number's last verifications, newest first: identifier|time of the start. Lives as long as the events."""
    return f"{PREFIX}:{{{bucket}}}:recent:{pseudonym}"


def replied(bucket: str, application: str, pseudonym: str, meaning: str) -> str:
    """Hold, as a string, that an application answered what a number wrote to it, by what it meant. Lives for a day."""
    return f"{PREFIX}:{{{bucket}}}:replied:{application}:{meaning}:{pseudonym}"


def health(gateway: str) -> str:
    """Hash: how a gateway is. Lives for a day after it says anything."""
    return f"{PREFIX}:{{gateways}}:health:{gateway}"


def flights(gateway: str) -> str:
    """Sorted set: the calls of a gateway in flight, by when they are given up; only where they are bounded."""
    return f"{PREFIX}:{{gateways}}:flights:{gateway}"


def reference(gateway: str, reference: str) -> str:
    """Hold, as a string, the dispatch that a gateway took over under a reference (its hash), for a record's life."""
    return f"{PREFIX}:{{gateways}}:reference:{gateway}:{reference}"


def early_receipts(gateway: str, reference: str) -> str:
    """List: receipts for a reference (its hash) that nobody knows yet. Lives for some minutes."""
    return f"{PREFIX}:{{gateways}}:early:{gateway}:{reference}"


def caught(application: str) -> str:
    """List: the last messages that a sandbox gateway caught for an application, sealed."""
    return f"{PREFIX}:{{sandbox}}:application:{application}"


def caught_of(application: str, verification_id: str) -> str:
    """List: the messages that a sandbox gateway caught of one verification of an application, sealed."""
    return f"{PREFIX}:{{sandbox}}:verification:{application}:{verification_id}"


# --- the guard: a key names its part of it, which the scripts read; states are strings of MessagePack -----------


def decisions(bucket: str) -> str:
    """Stream: what the rules refused, or would have, and what changed for all; without personal data.

    Lives as long as the events after the last entry, as the attempts do.
    """
    return f"{PREFIX}:{{{bucket}}}:decisions"


def attempts(bucket: str) -> str:
    """Stream: starts, resends and codes, to be tried again under other rules; pseudonyms only."""
    return f"{PREFIX}:{{{bucket}}}:attempts"


def guard_of_number(bucket: str) -> str:
    """Return the beginning of what is kept of numbers: ``standing/``, ``cooldown/`` and ``guesses/APPLICATION/``.

    ``standing``: when the number was approved last, and from which contexts.
    """
    return f"{PREFIX}:{{{bucket}}}:guard/"


def standing(bucket: str, pseudonym: str) -> str:
    """Hold when a number was approved last, and from which contexts."""
    return f"{guard_of_number(bucket)}standing/{pseudonym}"


def cooldown(bucket: str, pseudonym: str) -> str:
    """Hold a number's messages in a row."""
    return f"{guard_of_number(bucket)}cooldown/{pseudonym}"


def guesses(bucket: str, application: str, pseudonym: str) -> str:
    """Hold the wrong codes in a row for a number at an application, and the lock."""
    return f"{guard_of_number(bucket)}guesses/{application}/{pseudonym}"


def block(pseudonym: str) -> str:
    """Hold the buckets and the breaker of a block of numbers, all applications together."""
    return f"{PREFIX}:{{{pseudonym}}}:guard/block/{pseudonym}"


def country(application: str, country: str) -> str:
    """Hold the buckets and the breaker of an application's country."""
    return f"{PREFIX}:{{{application}}}:guard/country/{application}/{country}"


def address(network_pseudonym: str) -> str:
    """Hold the buckets of an end user's network."""
    return f"{PREFIX}:{{{network_pseudonym}}}:guard/address/{network_pseudonym}"


def asked(network_pseudonym: str) -> str:
    """Set: numbers and countries that an end user's network asked codes for lately."""
    return f"{PREFIX}:{{{network_pseudonym}}}:guard/asked/{network_pseudonym}"


def network(pseudonym: str) -> str:
    """Hold the buckets of an IPv6 /48."""
    return f"{PREFIX}:{{{pseudonym}}}:guard/network/{pseudonym}"


def provider(pseudonym: str) -> str:
    """Hold the buckets of an IPv6 /32."""
    return f"{PREFIX}:{{{pseudonym}}}:guard/provider/{pseudonym}"


def failures(application: str) -> str:
    """Hold how many codes an application checked, wrong and right ones."""
    return f"{PREFIX}:{{{application}}}:guard/failures/{application}"


def spend(application: str) -> str:
    """Hold what an application spent in this hour and day."""
    return f"{PREFIX}:{{{application}}}:guard/spend/{application}"


def spend_in_country(application: str, country: str) -> str:
    """Hold what an application spent for a country in this hour and day."""
    return f"{PREFIX}:{{{application}}}:guard/spendcountry/{application}/{country}"


# --- windows: what follows the prefix is the key as the limits library names it --------------------------------


def number_window(bucket: str, pseudonym: str, seconds: int) -> str:
    """List: times of the last messages to a number, all applications together."""
    return f"{{{bucket}}}:number/{pseudonym}/{seconds}"


def failed_checks_windows(bucket: str, application: str) -> str:
    """Return the beginning of the keys of an application's failed checks; pseudonym and window end them."""
    return f"{{{bucket}}}:failed_checks/{application}/"


def failed_checks_window(bucket: str, application: str, pseudonym: str, seconds: int) -> str:
    """List: times of the last wrong codes for a number, per application."""
    return f"{failed_checks_windows(bucket, application)}{pseudonym}/{seconds}"


def network_window(network_pseudonym: str, seconds: int) -> str:
    """Two counters: starts from an end user's network. The library puts the braces around."""
    return f"ip/{network_pseudonym}/{seconds}"


def application_window(application: str, seconds: int) -> str:
    """Two counters: starts and resends of an application. The library puts the braces around."""
    return f"application/{application}/{seconds}"


def moving(window: str) -> tuple[str]:
    """Return the Redis key of a moving window."""
    return (f"{PREFIX}:{window}",)


def sliding(window: str) -> tuple[str, str]:
    """Return the Redis keys of a sliding window counter: this interval's, and the previous one's."""
    return f"{PREFIX}:{{{window}}}", f"{PREFIX}:{{{window}}}/-1"
