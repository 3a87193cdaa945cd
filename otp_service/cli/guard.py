"""``otp-service guard``: the rules against abuse; each command has a file of its own."""

import click

from otp_service.cli.explain import explain
from otp_service.cli.guard_status import rules, status
from otp_service.cli.replay import replay_command
from otp_service.cli.unblock import unblock


@click.group()
def guard() -> None:
    """Show, explain and try the rules against abuse."""


for _command in (rules, status, explain, unblock, replay_command):
    guard.add_command(_command)
