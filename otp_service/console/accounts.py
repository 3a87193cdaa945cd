"""Users of the console: roles and their permissions, passwords, invitations, waits after failures."""

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Final

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id


class Role(StrEnum):
    """The work of a user."""

    SUPPORT = "support"
    FRAUD = "fraud"
    COMPLIANCE = "compliance"
    OPERATIONS = "operations"
    DEVELOPER = "developer"
    ADMIN = "admin"


class Permission(StrEnum):
    """A permission of a role."""

    FIND = "find"
    """Look up a number, or decide on replies; each view is recorded."""
    FIND_BY_ID = "find-by-id"
    """Look up a verification of an own application by its identifier."""
    UNBLOCK = "unblock"
    """Lift waits and locks of a number, and empty its limits."""
    STATS = "stats"
    """See rules, stats, spending, and the effect of other rules."""
    EXACT = "exact"
    """See small counts as they are."""
    HOLDS = "holds"
    """Lift the limits of a block, a country or an address."""
    FREEZE = "freeze"
    """Freeze a number after fraud."""
    COMPLIANCE = "compliance"
    """See consents and suppressions, export a person's data, verify the audit chain, make dispute packs."""
    ERASE = "erase"
    """Request or confirm actions under dual control: erasures, and the end of freezes and suppressions."""
    OPERATE = "operate"
    """See gateways, queues and dead letters; pause gateways, put messages back."""
    DEVELOP = "develop"
    """See keys and webhooks of the own applications."""
    USERS = "users"
    """Invite, change and disable users of the console."""


ALLOWED: Final[Mapping[Role, frozenset[Permission]]] = {
    Role.SUPPORT: frozenset({Permission.FIND, Permission.UNBLOCK}),
    Role.FRAUD: frozenset(
        {
            *(Permission.FIND, Permission.UNBLOCK, Permission.STATS, Permission.EXACT),
            *(Permission.HOLDS, Permission.FREEZE),
        }
    ),
    Role.COMPLIANCE: frozenset(
        {Permission.FIND, Permission.STATS, Permission.FREEZE, Permission.COMPLIANCE, Permission.ERASE}
    ),
    Role.OPERATIONS: frozenset({Permission.STATS, Permission.EXACT, Permission.OPERATE}),
    Role.DEVELOPER: frozenset({Permission.FIND_BY_ID, Permission.STATS, Permission.DEVELOP}),
    Role.ADMIN: frozenset({Permission.USERS}),
}
"""By role. No role may do everything: a user who manages access sees no personal data."""


def may_be_limited(role: Role) -> bool:
    """Whether users of a role may be limited to some applications; a role that manages access to all may not."""
    return Permission.USERS not in ALLOWED[role]


NEVER_LIMITED: Final = "An admin gives out access to all applications, and is limited to none."
NAME_RULE: Final = "A name has at most 24 small letters, digits, dots and hyphens, and begins with a letter."
_NAME: Final = re.compile(r"[a-z][a-z0-9._-]{0,23}")
"""Two of them have to fit in the record of a joint action (``console:ali with sara``)."""


def is_user_name(name: str) -> bool:
    return bool(_NAME.fullmatch(name))


@dataclass(frozen=True, slots=True)
class ConsoleUser:
    """A recorded user of the console. Times are milliseconds since the epoch."""

    name: str
    role: Role
    applications: frozenset[str]
    """The visible ones; empty for all."""
    password: str = field(repr=False)
    """Argon2id (RFC 9106) in the PHC string format; empty until the invitation is accepted."""
    secret: str = field(repr=False)
    """Of the authenticator app, sealed; empty until then."""
    last_step: int = 0
    """The last period whose code was accepted: none before it is again."""
    version: int = 0
    """Increases with each change that ends sessions."""
    disabled: int | None = None

    @property
    def is_active(self) -> bool:
        return bool(self.password and self.secret) and self.disabled is None

    def may(self, permission: Permission) -> bool:
        return permission in ALLOWED[self.role]

    @property
    def sees_all(self) -> bool:
        """Whether the user is not limited to some applications, and may act for all."""
        return not self.applications

    def sees(self, application: str) -> bool:
        """Whether the user may see an application; ``*`` requires a user without restrictions."""
        return self.sees_all or application in self.applications


MIN_PASSWORD: Final = 12
MAX_PASSWORD: Final = 128
"""Characters."""
_MEMORY_KIB, _ITERATIONS, _LANES = 19 * 1024, 2, 1  # OWASP's least for Argon2id: some 50 ms
_HASH_BYTES, _SALT_BYTES = 32, 16


def password_fault(password: str, name: str) -> str:
    """Return the fault of a new password (NIST SP 800-63B-4, section 3.1.1), empty for none."""
    if len(password) < MIN_PASSWORD:
        return f"A password has at least {MIN_PASSWORD} characters."
    if len(password) > MAX_PASSWORD:
        return f"A password has at most {MAX_PASSWORD} characters."
    if name.casefold() in password.casefold() or len(set(password)) < MIN_PASSWORD // 3:
        return "This password is too easy to guess."
    return ""


def hash_password(password: str) -> str:
    return _argon2(os.urandom(_SALT_BYTES)).derive_phc_encoded(password.encode(errors="surrogatepass"))


def _argon2(salt: bytes) -> Argon2id:
    return Argon2id(salt=salt, length=_HASH_BYTES, iterations=_ITERATIONS, lanes=_LANES, memory_cost=_MEMORY_KIB)


def is_password(password: str, hashed: str) -> bool:
    """Whether a password matches a hash; takes as long for an empty hash, of an unknown user."""
    try:
        Argon2id.verify_phc_encoded(password.encode(errors="surrogatepass"), hashed or _dummy_hash())
    except InvalidKey:
        return False
    return bool(hashed)


@cache
def _dummy_hash() -> str:
    return _argon2(bytes(_SALT_BYTES)).derive_phc_encoded(os.urandom(_SALT_BYTES))


SESSION_IDLE: Final = 15 * 60
"""Seconds after the last page in which a session ends."""
SESSION_LIFE: Final = 8 * 3600
"""Seconds after which a session ends, even in use."""
CONFIRMED_FOR: Final = 300
"""Seconds after the code of an app in which irreversible actions are allowed."""
INVITATION_LIFE: Final = 3_600_000
"""Milliseconds for which an invitation may be accepted."""


def new_invitation() -> str:
    """Return the secret part of an invitation's address: 256 random bits."""
    return secrets.token_urlsafe(32)


def digest(name: str) -> str:
    """Return the stored form of a random name that only its holder knows: an invitation, a session's cookie.

    A plain hash is enough: the name has 256 random bits and cannot be guessed.
    """
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()


FREE_TRIES: Final = 5
"""Attempts to sign in under a name from a network before the first wait."""
FIRST_WAIT: Final = 30_000
"""Milliseconds before the next attempt; doubles with each."""
LONGEST_WAIT: Final = 3_600_000
"""Milliseconds. A lock always ends, and attempts from other networks do not cause it."""
