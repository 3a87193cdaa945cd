"""People who use the console: roles and what each may do, passwords, invitations, waits after failures."""

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
    """What a person's work is."""

    SUPPORT = "support"
    FRAUD = "fraud"
    COMPLIANCE = "compliance"
    OPERATIONS = "operations"
    DEVELOPER = "developer"
    ADMIN = "admin"


class Permission(StrEnum):
    """What a role allows."""

    FIND = "find"
    """Look up a number, or read and decide what people wrote back: each look is recorded."""
    FIND_BY_ID = "find-by-id"
    """Look up a verification of an application of one's own by its identifier."""
    UNBLOCK = "unblock"
    """Lift waits and locks of a number, and empty its limits."""
    STATS = "stats"
    """See rules, stats, money, and what would be under other rules."""
    EXACT = "exact"
    """See small counts as they are."""
    HOLDS = "holds"
    """Lift what rules hold back of a block, a country or an address."""
    FREEZE = "freeze"
    """Freeze a number after fraud."""
    COMPLIANCE = "compliance"
    """See consents and suppressions, export what is held of a person, verify the audit chain, make dispute packs."""
    ERASE = "erase"
    """Ask for, or confirm, what needs two people: erasures, and the end of freezes and suppressions."""
    OPERATE = "operate"
    """See gateways, queues and dead letters; pause gateways, put messages back."""
    DEVELOP = "develop"
    """See keys and webhooks of one's own applications."""
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
"""By role. No role may do everything: who gives out access sees no person's data."""


def may_be_limited(role: Role) -> bool:
    """Tell whether a user of a role may be limited to some applications: not who gives out access to all of them."""
    return Permission.USERS not in ALLOWED[role]


NEVER_LIMITED: Final = "An admin gives out access to all applications, and is limited to none."
NAME_RULE: Final = "A name has at most 24 small letters, digits, dots and hyphens, and begins with a letter."
_NAME: Final = re.compile(r"[a-z][a-z0-9._-]{0,23}")
"""Two of them have to fit where it is recorded who did something together (``console:ali with sara``)."""


def is_user_name(name: str) -> bool:
    """Tell whether a user may be called so."""
    return bool(_NAME.fullmatch(name))


@dataclass(frozen=True, slots=True)
class ConsoleUser:
    """A user of the console, as he is recorded. Times are milliseconds since the epoch."""

    name: str
    role: Role
    applications: frozenset[str]
    """Those that he may see; empty for all."""
    password: str = field(repr=False)
    """Argon2id (RFC 9106) in the PHC string format; empty until the invitation is accepted."""
    secret: str = field(repr=False)
    """Of his authenticator app, sealed; empty until then."""
    last_step: int = 0
    """The last period whose code was accepted: none before it is again."""
    version: int = 0
    """Another one after each change that ends sessions."""
    disabled: int | None = None

    @property
    def is_active(self) -> bool:
        """Whether he may sign in."""
        return bool(self.password and self.secret) and self.disabled is None

    def may(self, permission: Permission) -> bool:
        """Tell whether his role allows something."""
        return permission in ALLOWED[self.role]

    @property
    def sees_all(self) -> bool:
        """Whether he is limited to no applications, and may do what concerns all of them."""
        return not self.applications

    def sees(self, application: str) -> bool:
        """Tell whether he may see an application; all of them (``*``) sees only who is restricted to none."""
        return self.sees_all or application in self.applications


MIN_PASSWORD: Final = 12
MAX_PASSWORD: Final = 128
"""Characters."""
_MEMORY_KIB, _ITERATIONS, _LANES = 19 * 1024, 2, 1  # OWASP's least for Argon2id: some 50 ms
_HASH_BYTES, _SALT_BYTES = 32, 16


def password_fault(password: str, name: str) -> str:
    """Return what is wrong with a new password of a user, empty when nothing is (NIST SP 800-63B-4, section 3.1.1)."""
    if len(password) < MIN_PASSWORD:
        return f"A password has at least {MIN_PASSWORD} characters."
    if len(password) > MAX_PASSWORD:
        return f"A password has at most {MAX_PASSWORD} characters."
    if name.casefold() in password.casefold() or len(set(password)) < MIN_PASSWORD // 3:
        return "This password is too easy to guess."
    return ""


def hash_password(password: str) -> str:
    """Return what is recorded of a password."""
    return _argon2(os.urandom(_SALT_BYTES)).derive_phc_encoded(password.encode(errors="surrogatepass"))


def _argon2(salt: bytes) -> Argon2id:
    return Argon2id(salt=salt, length=_HASH_BYTES, iterations=_ITERATIONS, lanes=_LANES, memory_cost=_MEMORY_KIB)


def is_password(password: str, hashed: str) -> bool:
    """Tell whether a password is the one that was hashed; takes as long where there is no such user (empty)."""
    try:
        Argon2id.verify_phc_encoded(password.encode(errors="surrogatepass"), hashed or _dummy_hash())
    except InvalidKey:
        return False
    return bool(hashed)


@cache
def _dummy_hash() -> str:
    """Return the hash of a password that nobody knows."""
    return _argon2(bytes(_SALT_BYTES)).derive_phc_encoded(os.urandom(_SALT_BYTES))


SESSION_IDLE: Final = 15 * 60
"""Seconds after the last page in which a session ends."""
SESSION_LIFE: Final = 8 * 3600
"""Seconds after which somebody signs in again, however busy he was."""
CONFIRMED_FOR: Final = 300
"""Seconds after the code of an app in which what cannot be undone may be done."""
INVITATION_LIFE: Final = 3_600_000
"""Milliseconds for which an invitation may be accepted."""


def new_invitation() -> str:
    """Return the secret part of an invitation's address: 256 random bits."""
    return secrets.token_urlsafe(32)


def digest(name: str) -> str:
    """Return what is kept of a random name that only its holder knows: an invitation, a session's cookie.

    A plain hash is enough here: it has 256 random bits and cannot be searched for.
    """
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()


FREE_TRIES: Final = 5
"""Tries to sign in, of one name from one network, that need not wait for each other."""
FIRST_WAIT: Final = 30_000
"""Milliseconds before the next one; it doubles with each."""
LONGEST_WAIT: Final = 3_600_000
"""Milliseconds: nobody is locked out for ever, and nobody by what others do elsewhere."""
