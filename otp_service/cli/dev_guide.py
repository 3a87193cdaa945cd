"""What ``dev`` prints once it is ready: how to verify a number, line by line."""

import hashlib
import json
import shlex
from pathlib import Path

from otp_service.cli.dev_numbers import PREFIX
from otp_service.cli.output import program
from otp_service.domain.guard import Mode
from otp_service.domain.people import ConsentMode
from otp_service.settings import Settings

NUMBER = "+923001234567"
CONSENT = {
    "text_version": "sample",
    "text_sha256": hashlib.sha256(b"I agree to get codes by text message.").hexdigest(),
    "locale": "en",
    "channel": "web",
    "given_at": "2026-11-01T09:00:00Z",
    "source": "sample",
}
"""What a start brings where one is required: somebody agreed once, to words that were shown."""

_START = """\
  KEY={key}
  curl -s -w '\\n' {url}/v1/verifications -H "Authorization: Bearer $KEY" \\
    -H 'Content-Type: application/json' -d '{body}'"""
_CAUGHT = """\
  curl -s -w '\\n' {url}/v1/sandbox/messages -H "Authorization: Bearer $KEY\""""
_CHECK = """\
  ID=vf_... CODE=......
  curl -s -w '\\n' {url}/v1/verifications/$ID/check -H "Authorization: Bearer $KEY" \\
    -H 'Content-Type: application/json' -d "{{\\"code\\": \\"$CODE\\"}}\""""

_NUMBERS = "Numbers that go wrong on purpose, such as {prefix}0011, are in docs/sandbox.md.\n\n"
_GUARD = "Rules against fraud only record here what they would refuse: {command} guard status\n\n"
_SHELL = "  . {shell}; {command} send {options}{number}"


def guide(url: str, api_key: str, settings: Settings, shell: Path) -> str:
    """Return the lines to try, ready to paste into a shell; ``shell`` has the variables of the command line."""
    consents = settings.applications["dev"].consent is ConsentMode.REQUIRED
    start = "Start a verification, with the consent that is required" if consents else "Start a verification"
    steps = [f"{start}; the answer has its id:\n\n{_START}"]
    if any(gateway.kind == "sandbox" for gateway in settings.gateways.values()):
        steps.append(f"Read the code from the message that the sandbox caught:\n\n{_CAUGHT}")
    steps.append(f"Check it, with the id and the code from above:\n\n{_CHECK}")
    steps.append(f"Use the command line:\n\n{_SHELL}")
    lines = "\n\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))
    filled = lines.format(
        key=shlex.quote(api_key),
        url=url,
        body=json.dumps({"to": NUMBER, **({"consent": CONSENT} if consents else {})}),
        number=NUMBER,
        shell=shlex.quote(str(shell)),
        command=program(),
        options="--application dev ",
    )
    numbers = _NUMBERS.format(prefix=PREFIX) if _has_numbers(settings) else ""
    recorded = settings.guard.mode("block.unapproved") is Mode.RECORD_ONLY
    guard = _GUARD.format(command=program()) if recorded else ""
    return (
        f"\nReady at {url}; its documentation is at {url}/docs\nAPI key of the application 'dev': {api_key}\n\n"
        f"{filled}\n\n{numbers}{guard}Ctrl-C stops it."
    )


def _has_numbers(settings: Settings) -> bool:
    """Tell whether a sandbox gateway has the cases of the defaults."""
    return any(
        case.to.startswith(PREFIX)
        for gateway in settings.gateways.values()
        for case in getattr(gateway.settings, "cases", ())
    )
