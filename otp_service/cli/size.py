"""otp-service size: how large an installation has to be."""

from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from typing import Any, get_args

import click

from otp_service.cli import output as out
from otp_service.cli.common import Function, Session, command, options
from otp_service.cli.output import Labelled
from otp_service.domain.sizing import FIGURES, PRICE, Line, Load, Sizing, parse_amount

_EXACT = 100
"""From this on amounts are told without decimals."""


class _Amount(click.ParamType[float]):
    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        try:
            return parse_amount(value)
        except ValueError as wrong:
            self.fail(str(wrong), param, ctx)


def _option(one: Field[Any]) -> Callable[[Function], Function]:
    """Return the option for a member of `Load`; a default of 0 is told by its words."""
    return click.option(
        f"--{one.name.replace('_', '-')}",
        type=click.Choice(choices) if (choices := get_args(one.type)) else _Amount(),
        show_default=True,
        **({"required": True} if one.default is MISSING else {"default": str(one.default) if one.default else None}),
        help=one.metadata["words"],
    )


@command(short_help="Tell how large an installation has to be.")
@options(*map(_option, fields(Load)))
@click.option("--currency", default="", help="Of the price, such as PKR.")
def size(session: Session, currency: str, **load: Any) -> None:  # noqa: ANN401, ARG001 - every command has one
    """Tell how large an installation has to be: Redis, processes, ledger, network, money.

    It calculates with figures that were measured, and asks nothing of a running service. Amounts may be written 50k,
    1.5M or 1e9. docs/scale.md says how to read the answer.
    """
    given = {name: value for name, value in load.items() if value is not None}
    try:
        sizing = Sizing(Load(**given), FIGURES)
    except ValueError as wrong:
        raise click.UsageError(str(wrong)) from None
    out.in_json(
        load=out.members(sizing.load),
        currency=currency or None,
        fits_one_primary=not sizing.is_cluster,
        figures=[{"name": name, **figure._asdict()} for name, figure in FIGURES.items()],
    )
    out.table("needs", ("Part", "What", "Amount", "Unit", "Basis"), [_row(one, currency) for one in sizing.lines()])
    out.note(out.wrap(_verdict(sizing)))


def _row(one: Line, currency: str) -> tuple[out.Cell, ...]:
    unit = f"{currency} {one.unit}".strip() if one.what == PRICE else one.unit
    return one.part, one.what, Labelled(round(one.amount, 3), _told(one.amount)), unit, one.basis


def _told(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= _EXACT or amount == int(amount) else f"{amount:.3g}"


def _verdict(sizing: Sizing) -> str:
    bears = f"One primary bears about {_told(sizing.primary_bears)} starts a second on such a core."
    if sizing.is_cluster:
        return f"{bears} More needs a cluster: what is told of it is an estimate."
    return f"{bears} That is enough, where it has {_told(sizing.memory / 1e9)} GB for its data."
