"""The console's keys in Redis."""

from typing import Final

from otp_service.console.accounts import INVITATION_LIFE, SESSION_IDLE
from otp_service.store.keys import Key, Life

_DAY: Final = 24 * 3600

# fmt: off
session = Key("otp:{console}:session:<session>", "hash", "", Life("15 min after the last page", SESSION_IDLE),
    "console", "a session of the console, by the digest of its cookie")
handle = Key("otp:{console}:handle:<session>/<handle>", "string", "sealed", Life("10 min", 600), "console",
    "the number that a session looks at")
tries = Key("otp:{console}:tries:<fingerprint>", "hash", "pseudonym", Life("a day after the last try", _DAY),
    "console", "failed sign-ins under a name from a network, and the wait before the next")
invitation = Key("otp:{console}:invitation:<invitation>", "string", "sealed",
    Life("an hour", INVITATION_LIFE // 1000), "console",
    "the secret of the authenticator app that an invitation shows")
chain_turn = Key("otp:{console}:chain/turn", "hash", "", Life("30 s", 60), "console",
    "the verification of the audit chain that is under way: process, user, start, progress")
chain_result = Key("otp:{console}:chain/result", "string", "", Life("90 days", 90 * _DAY), "console",
    "the result of the last verification of the audit chain, and its user")
# fmt: on

KEYS: Final = (session, handle, tries, invitation, chain_turn, chain_result)
