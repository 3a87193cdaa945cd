"""The console's tables: users, their views of numbers, requests under dual control."""

import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, case, func, insert, or_, select, update

from otp_service.clock import now
from otp_service.console.accounts import INVITATION_LIFE, ConsoleUser, Role
from otp_service.domain.audit import OperatorActionEntry
from otp_service.errors import NameTakenError
from otp_service.ledger.audit import append_entry, append_state, record_action
from otp_service.ledger.database import LedgerPart
from otp_service.ledger.schema import console_users, looks, second_person_requests

_users = console_users.c


class ConsoleAction(StrEnum):
    """Actions of operators that the console adds to `OperatorAction`."""

    USER_INVITED = "console-user-invited"
    USER_CHANGED = "console-user-changed"
    USER_DISABLED = "console-user-disabled"


class UserState(StrEnum):
    """Whether a user may sign in, or why not."""

    ACTIVE = "active"
    INVITED = "invited"
    INVITATION_OVER = "invitation is over"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class ListedUser:
    """A row of the list of users."""

    user: ConsoleUser
    state: UserState
    used: int | None
    """Last sign-in: milliseconds since the epoch."""


class ConsoleUsers(LedgerPart):
    """Users of the console."""

    def invite(self, name: str, role: Role, applications: Sequence[str], invitation: str, by: str) -> None:
        """Add a user with an invitation (its hash) to set a password; raise `NameTakenError` for an existing name.

        ``by`` is the acting operator, here and below.
        """
        at = now()
        row = {
            "name": name,
            "role": role,
            "applications": " ".join(sorted(applications)),
            "password": "",
            "secret": "",
            "last_step": 0,
            "version": 1,
            "invitation": invitation,
            "invited_until": at + INVITATION_LIFE,
            "created": at,
            "used": None,
            "disabled": None,
        }
        add = self._database.insert(console_users).values(row).on_conflict_do_nothing().returning(_users.name)
        with self._database.write() as connection:
            if connection.execute(add).first() is None:
                raise NameTakenError("There is a user of this name.")
            append_state(connection, console_users, [name])
            record_action(connection, OperatorActionEntry(ConsoleAction.USER_INVITED, by, target=name))

    def invite_again(self, name: str, invitation: str, by: str) -> bool:
        """Invalidate a user's password, app and sessions; return whether the user exists and is not disabled."""
        anew = {"password": "", "secret": "", "invitation": invitation, "invited_until": now() + INVITATION_LIFE}
        return self._change(name, ConsoleAction.USER_INVITED, by, **anew)

    def change(self, name: str, role: Role, applications: Sequence[str], by: str) -> bool:
        """Change a user's role and applications, and end the sessions; return whether the user exists."""
        values = {"role": role, "applications": " ".join(sorted(applications))}
        return self._change(name, ConsoleAction.USER_CHANGED, by, **values)

    def disable(self, name: str, by: str) -> bool:
        """Disable a user; return whether the user exists and was not disabled."""
        ended = {"disabled": now(), "password": "", "secret": "", "invitation": "", "invited_until": 0}
        return self._change(name, ConsoleAction.USER_DISABLED, by, **ended)

    def _change(self, name: str, action: ConsoleAction, by: str, **values: object) -> bool:
        change = update(console_users).where(_users.name == name, _users.disabled.is_(None))
        with self._database.write() as connection:
            done = connection.execute(change.values(**values, version=_users.version + 1)).rowcount == 1
            if done:
                append_state(connection, console_users, [name])
                record_action(connection, OperatorActionEntry(action, by, target=name))
        return done

    def invited(self, invitation: str) -> ConsoleUser | None:
        """Return the user of an open invitation, named by its hash."""
        query = select(console_users).where(_users.invitation == invitation, _users.invited_until > now())
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none() if invitation else None
        return _user(row) if row else None

    def accept(self, invitation: str, password: str, secret: str, step: int) -> bool:
        """Set the invited user's password (its hash) and app (sealed), once; return whether it was in time."""
        values = {"password": password, "secret": secret, "last_step": step, "invitation": "", "invited_until": 0}
        invited = update(console_users).where(_users.invitation == invitation, _users.invited_until > now())
        accepted = invited.values(**values, version=_users.version + 1).returning(_users.name)
        with self._database.write() as connection:
            names = connection.execute(accepted).scalars().all()
            append_state(connection, console_users, names)
        return len(names) == 1

    def find(self, name: str) -> ConsoleUser | None:
        with self._database.read() as connection:
            row = connection.execute(select(console_users).where(_users.name == name)).one_or_none()
        return _user(row) if row else None

    def use_step(self, user: ConsoleUser, step: int) -> bool:
        """Record an accepted code of a user's app; return whether none of this or a later period was recorded."""
        fresh = update(console_users).where(
            _users.name == user.name, _users.version == user.version, _users.last_step < step, _users.disabled.is_(None)
        )
        with self._database.write() as connection:
            return connection.execute(fresh.values(last_step=step, used=now())).rowcount == 1

    def all(self) -> tuple[ListedUser, ...]:
        with self._database.read() as connection:
            rows = connection.execute(select(console_users).order_by(_users.name)).all()
        return tuple(ListedUser(_user(row), _state(row), row.used) for row in rows)


def _state(row: Row[Any]) -> UserState:
    if row.disabled is not None:
        return UserState.DISABLED
    if row.password:
        return UserState.ACTIVE
    return UserState.INVITED if row.invited_until > now() else UserState.INVITATION_OVER


def _user(row: Row[Any]) -> ConsoleUser:
    return ConsoleUser(
        row.name,
        Role(row.role),
        frozenset(row.applications.split()),
        *(row.password, row.secret, row.last_step, row.version, row.disabled),
    )


@dataclass(frozen=True, slots=True)
class NumberView:
    """A view of a person's data by a user of the console."""

    by: str
    view: str
    pseudonym: str
    reason: str = ""
    at: int = 0
    """Milliseconds since the epoch; 0 until it is recorded."""


class NumberViews(LedgerPart):
    """Views of numbers."""

    def record(self, look: NumberView, within: int = 0) -> None:
        """Record a view before the data are shown, but not a repeated one ``within`` some milliseconds."""
        at, columns = now(), looks.c
        row = asdict(look) | {"id": f"lo_{secrets.token_hex(16)}", "at": at}
        same = (columns.pseudonym == look.pseudonym, columns.by == look.by, columns.view == look.view)
        repeated = select(columns.id).where(*same, columns.at > at - within).limit(1)
        with self._database.write() as connection:
            if within and connection.execute(repeated).first():
                return
            connection.execute(insert(looks), row)
            append_entry(connection, looks, [row])

    def at(self, pseudonym: str, max_rows: int) -> tuple[NumberView, ...]:
        query = select(looks).where(looks.c.pseudonym == pseudonym).order_by(looks.c.at.desc(), looks.c.id)
        with self._database.read() as connection:
            return tuple(map(_look, connection.execute(query.limit(max_rows))))

    def latest(self, max_rows: int, by: str | None = None) -> tuple[NumberView, ...]:
        query = select(looks).order_by(looks.c.at.desc(), looks.c.id).limit(max_rows)
        with self._database.read() as connection:
            return tuple(map(_look, connection.execute(query if by is None else query.where(looks.c.by == by))))

    def numbers_by_user(self, *since: int) -> tuple[tuple[Any, ...], ...]:
        """Return by user the count of viewed numbers since each time (ms), the highest first."""
        mine = looks.c
        counts = [func.count(func.distinct(case((mine.at >= moment, mine.pseudonym)))) for moment in since]
        query = select(mine.by, *counts).where(mine.at >= min(since)).group_by(mine.by)
        with self._database.read() as connection:
            busiest = query.order_by(*(count.desc() for count in counts), mine.by)
            return tuple(map(tuple, connection.execute(busiest)))


def _look(row: Row[Any]) -> NumberView:
    return NumberView(row.by, row.view, row.pseudonym, row.reason, row.at)


class DualControlAction(StrEnum):
    """An action that a user requests and another user confirms."""

    ERASE = "erase"
    UNFREEZE = "unfreeze"
    LIFT_SUPPRESSION = "lift-suppression"


@dataclass(frozen=True, slots=True)
class DualControlRequest:
    """A request under dual control, open or decided. Times are milliseconds since the epoch."""

    action: DualControlAction
    pseudonym: str
    application: str
    """``*`` for all."""
    by: str
    reason: str
    id: str = ""
    at: int = 0
    decided: int | None = None
    decided_by: str = ""
    outcome: str = ""

    def is_open(self, at: int) -> bool:
        """Whether the request may be decided at a time."""
        given_up = self.outcome == TAKEN and (self.decided or 0) <= at - TAKEN_FOR
        return self.at > at - REQUEST_LIFE and (self.decided is None or given_up)


DONE, NOTHING_LEFT, DECLINED = "done", "nothing-left", "declined"
"""Outcomes. ``NOTHING_LEFT``: confirmed, without an effect."""
TAKEN = "taken"
"""Confirmed; the action is under way."""
TAKEN_FOR = 5 * 60_000
"""Milliseconds after which a taken request is open again: far longer than an action takes, so the process failed."""
REQUEST_LIFE = 7 * 24 * 3_600_000
"""Milliseconds in which a request may be decided."""


class DualControlRequests(LedgerPart):
    """Requests under dual control."""

    def ask(self, request: DualControlRequest) -> str:
        """Record a request; return its name."""
        name = f"sp_{secrets.token_hex(16)}"
        row = asdict(request) | {"id": name, "at": now()}
        row["act"] = row.pop("action")
        with self._database.write() as connection:
            connection.execute(insert(second_person_requests), row)
            append_entry(connection, second_person_requests, [row])
        return name

    def find(self, name: str) -> DualControlRequest | None:
        query = select(second_person_requests).where(second_person_requests.c.id == name)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return _request(row) if row else None

    def take(self, name: str, by: str) -> DualControlRequest | None:
        """Take a request in order to confirm it; return ``None`` if it is not open to the user.

        It is never open to its requester. A taken request ends with `finish` or `reopen`; without either it is open
        again after `TAKEN_FOR`.
        """
        return self._decide(name, by, TAKEN, second_person_requests.c.by != by)

    def decline(self, name: str, by: str) -> bool:
        """Decline a request, or withdraw an own one; return whether it was open."""
        return self._decide(name, by, DECLINED) is not None

    def _decide(self, name: str, by: str, outcome: str, *among: ColumnElement[bool]) -> DualControlRequest | None:
        columns, at = second_person_requests.c, now()
        given_up = and_(columns.outcome == TAKEN, columns.decided <= at - TAKEN_FOR)
        still_open = (columns.id == name, or_(columns.decided.is_(None), given_up), columns.at > at - REQUEST_LIFE)
        decided = update(second_person_requests).where(*still_open, *among)
        with self._database.write() as connection:
            values = {"decided": at, "decided_by": by, "outcome": outcome}
            row = connection.execute(decided.values(**values).returning(second_person_requests)).one_or_none()
        return _request(row) if row else None

    def finish(self, taken: DualControlRequest, outcome: str) -> None:
        """Record the outcome of a taken request, unless it was taken again since."""
        self._end(taken, decided=now(), outcome=outcome)

    def reopen(self, taken: DualControlRequest) -> None:
        """Open a taken request again after a failure, unless it was taken again since."""
        self._end(taken, decided=None, decided_by="", outcome="")

    def _end(self, taken: DualControlRequest, **values: object) -> None:
        columns = second_person_requests.c
        still_own = (columns.id == taken.id, columns.outcome == TAKEN, columns.decided == taken.decided)
        ended = update(second_person_requests).where(*still_own)
        with self._database.write() as connection:
            connection.execute(ended.values(**values))

    def of_number(self, pseudonym: str, max_rows: int) -> tuple[DualControlRequest, ...]:
        return self._read(max_rows, second_person_requests.c.pseudonym == pseudonym)

    def latest(self, max_rows: int) -> tuple[DualControlRequest, ...]:
        return self._read(max_rows)

    def _read(self, max_rows: int, *among: ColumnElement[bool]) -> tuple[DualControlRequest, ...]:
        columns = second_person_requests.c
        query = select(second_person_requests).where(*among).order_by(columns.at.desc(), columns.id).limit(max_rows)
        with self._database.read() as connection:
            return tuple(map(_request, connection.execute(query)))


def _request(row: Row[Any]) -> DualControlRequest:
    subject = (row.pseudonym, row.application, row.by, row.reason)
    return DualControlRequest(
        DualControlAction(row.act), *subject, row.id, row.at, row.decided, row.decided_by, row.outcome
    )
