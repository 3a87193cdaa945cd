"""What ``dev`` prints once it is ready: how to verify a number, line by line."""

import shlex

from otp_service.settings import Settings

NUMBER = "+923001234567"

_START = """\
  KEY={key}
  curl -s {url}/v1/verifications -H "Authorization: Bearer $KEY" \\
    -H 'Content-Type: application/json' -d '{{"to": "{number}"}}'"""
_CAUGHT = """\
  curl -s {url}/v1/sandbox/messages -H "Authorization: Bearer $KEY\""""
_CHECK = """\
  ID=vf_... CODE=......
  curl -s {url}/v1/verifications/$ID/check -H "Authorization: Bearer $KEY" \\
    -H 'Content-Type: application/json' -d "{{\\"code\\": \\"$CODE\\"}}\""""


def guide(url: str, api_key: str, settings: Settings) -> str:
    """Return the lines to try, ready to paste into a shell."""
    steps = [f"Start a verification; the answer has its id:\n\n{_START}"]
    if any(gateway.kind == "sandbox" for gateway in settings.gateways.values()):
        steps.append(f"Read the code from the message that the sandbox caught:\n\n{_CAUGHT}")
    steps.append(f"Check it, with the id and the code from above:\n\n{_CHECK}")
    lines = "\n\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))
    filled = lines.format(key=shlex.quote(api_key), url=url, number=NUMBER)
    return (
        f"\nReady at {url}; its documentation is at {url}/docs\nAPI key of the application 'dev': {api_key}\n\n"
        f"{filled}\n\nCtrl-C stops it."
    )
