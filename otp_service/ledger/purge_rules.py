"""What may be deleted of each class of data, in transactions that are short.

What holds is never deleted. A consent goes only long after another entry followed it, so that the last one stays also
where it withdraws: somebody said no. A suppression goes long after it was lifted or ended. The entry that ends another
goes last: without it, the other would hold again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Connection, Table, and_, delete, exists, func, or_, select, true, tuple_

from otp_service.ledger.schema import (
    ACCESS,
    AUDIT,
    CONSENTS,
    DUTIES,
    INBOUND,
    SUPPRESSIONS,
    TRAFFIC,
    acts,
    api_keys,
    audit,
    audit_heads,
    consents,
    erasures,
    events,
    inbound,
    purges,
    suppressions,
    verifications,
)

BATCH: Final = 1000
"""Rows that one transaction deletes."""
LOOK: Final = 5000
"""Entries that one transaction looks at, where no index tells which have ended."""
TURN: Final = "turn"
"""Name of the row of ``purges`` that tells when the last purge began."""

Condition = ColumnElement[bool]


Found = tuple[int, int | None]
"""How many rows were deleted, and from which place to go on; ``None`` when that was the last."""
Rule = Callable[[Connection, int, int], Found]
"""Deletes a batch: of what is older than the second argument, from the place on that is the third."""


@dataclass(frozen=True, slots=True)
class _Entries:
    """Entries of which each ends the one before."""

    table: Table
    same: tuple[str, ...]
    """What entries have in common that end each other."""
    order: tuple[str, ...]
    """In which they do."""
    ends: Callable[[Any], Condition] = lambda _: true()
    """Whether a later one, of the alias given, ends it."""

    def followed(self, before: int) -> Condition:
        """Tell which entries were ended by another one; both were recorded before."""
        later = self.table.alias()
        mine, others = (tuple_(*(table.c[name] for name in self.order)) for table in (self.table, later))
        follows = exists().where(self._alike(later), others > mine, later.c.recorded < before, self.ends(later))
        return and_(self.table.c.recorded < before, follows.correlate(self.table))

    def beside(self) -> Condition:
        """Tell which entries have another beside them, before or after."""
        other = self.table.alias()
        return exists().where(self._alike(other), other.c.sequence != self.table.c.sequence).correlate(self.table)

    def _alike(self, other: Any) -> Condition:  # noqa: ANN401 - an alias of the table
        return and_(*(other.c[name] == self.table.c[name] for name in self.same))

    def rule(self, condition: Callable[[int], Condition]) -> Rule:
        """Return the rule that deletes the entries for which a condition is true."""

        def delete_some(connection: Connection, before: int, place: int) -> Found:
            sequence = self.table.c.sequence
            following = select(sequence).where(sequence > place).order_by(sequence).limit(1)
            upto = connection.execute(following.offset(LOOK - 1)).scalar()
            here = sequence > place if upto is None else and_(sequence > place, sequence <= upto)
            oldest = connection.execute(select(func.min(self.table.c.recorded)).where(here)).scalar()
            some = select(sequence).where(here, condition(before)).order_by(sequence).limit(BATCH)
            rows = connection.execute(delete(self.table).where(sequence.in_(some))).rowcount
            if rows == BATCH:
                return rows, place  # there may be more here
            all_younger = oldest is None or oldest >= before  # and so are those after
            return rows, None if all_younger else upto

        return delete_some


def _older(moment: Column[Any], *among: Condition) -> Rule:
    """Return the rule that deletes the rows of a table, or some ``among`` them, by their age."""
    table = moment.table
    (key,) = table.primary_key

    def delete_some(connection: Connection, before: int, place: int) -> Found:
        some = select(key).where(moment < before, *among).order_by(moment).limit(BATCH)
        rows = connection.execute(delete(table).where(key.in_(some))).rowcount
        return rows, place if rows == BATCH else None

    return delete_some


def _ended_keys(connection: Connection, before: int, _: int) -> Found:
    ended = or_(api_keys.c.revoked < before, api_keys.c.expires < before)
    return connection.execute(delete(api_keys).where(ended)).rowcount, None


def _older_links(connection: Connection, before: int, _: int) -> Found:
    """Delete the oldest entries of the chain, up to the last that is older and signed: there it begins from then on."""
    signed = select(audit_heads.c.sequence).where(audit_heads.c.at < before)
    anchor = connection.execute(signed.order_by(audit_heads.c.sequence.desc()).limit(1)).scalar()
    if anchor is None:
        return 0, None
    connection.execute(delete(audit_heads).where(audit_heads.c.sequence < anchor))
    some = select(audit.c.sequence).where(audit.c.sequence <= anchor).order_by(audit.c.sequence).limit(BATCH)
    rows = connection.execute(delete(audit).where(audit.c.sequence.in_(some))).rowcount
    return rows, 0 if rows == BATCH else None


def _outlasts(later: Any) -> Condition:  # noqa: ANN401 - an alias of the table
    """Tell whether a later suppression lifts one, or lasts as long: a shorter one does not end it."""
    mine = suppressions.c
    return or_(later.c.lifted, mine.lifted, later.c.until.is_(None), later.c.until >= mine.until)


_CONSENTS: Final = _Entries(consents, same=("pseudonym", "application", "purpose"), order=("counts_from", "sequence"))
_SUPPRESSIONS: Final = _Entries(
    suppressions, same=("pseudonym", "application", "scope"), order=("sequence",), ends=_outlasts
)


def _over(before: int) -> Condition:
    """Tell which suppressions another one ended, or their own end: whatever is beside them, they hold no more."""
    mine = suppressions.c
    return or_(and_(mine.recorded < before, ~mine.lifted, mine.until < before), _SUPPRESSIONS.followed(before))


def _alone(before: int) -> Condition:
    """Tell which suppressions are lifted or ended, and have no other beside them that would hold again."""
    mine = suppressions.c
    return and_(mine.recorded < before, or_(mine.lifted, mine.until < before), ~_SUPPRESSIONS.beside())


RULES: Final[Mapping[str, tuple[Rule, ...]]] = {
    TRAFFIC: (_older(verifications.c.started), _older(events.c.at)),
    CONSENTS: (_CONSENTS.rule(_CONSENTS.followed),),
    SUPPRESSIONS: (_SUPPRESSIONS.rule(_over), _SUPPRESSIONS.rule(_alone)),
    INBOUND: (_older(inbound.c.received),),
    ACCESS: (_ended_keys,),
    DUTIES: (_older(acts.c.at), _older(erasures.c.at), _older(purges.c.at, purges.c.id != TURN)),
    AUDIT: (_older_links,),
}
"""By class of data. The head is kept for ever, and an application too."""
