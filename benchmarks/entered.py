"""Functions of the package that a start, a check and a delivery enter, counted with `sys.setprofile`.

Prints for each call how many functions were entered, how many different ones and in how many files: the median of some
calls, once everything is cached.
"""

import re
import statistics
import sys
from collections.abc import Callable
from types import FrameType

from support_api import Api
from support_installation import World
from support_memory import folder_in_memory
from support_outbox import jobs_of
from support_valkey import ValkeyServer

from otp_service.services.delivery import RetryPolicy, deliver

_PACKAGE = "/otp_service/"
_WARM, _CALLS = 5, 11


def entered(call: Callable[[], object]) -> list[tuple[str, str]]:
    """Return file and name of each function of the package that a call enters, in order."""
    functions: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        is_function = event == "call" and not re.match(r"<(?!lambda)", code.co_name)
        if is_function and _PACKAGE in code.co_filename and "/tests/" not in code.co_filename:
            functions.append((code.co_filename.rpartition(_PACKAGE)[2], code.co_qualname))

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return functions


def main() -> None:
    """Count and print; with an argument, list the functions of that call."""
    server = ValkeyServer(folder_in_memory("entered"))
    try:
        api = Api(World(server.client, server.url, lambda _: None))
        for call, runs in _counted(api).items():
            each = statistics.median(map(len, runs))
            print(
                f"{call}: {each:g} entered, {len(set(runs[-1]))} functions, {len({file for file, _ in runs[-1]})} files"
            )
            if call in sys.argv[1:]:
                print("\n".join(f"  {file} {name}" for file, name in runs[-1]))
    finally:
        server.stop()


def _counted(api: Api) -> dict[str, list[list[tuple[str, str]]]]:
    context, policy = api.installation.context, RetryPolicy(1, (5.0,))
    counted: dict[str, list[list[tuple[str, str]]]] = {"start": [], "delivery": [], "check": []}
    for number in range(_WARM + _CALLS):
        ids: list[str] = []
        counted["start"].append(entered(lambda to=f"+92300{1000000 + number}", ids=ids: ids.append(api.start(to))))  # type: ignore[misc]
        counted["delivery"].append(entered(lambda: [deliver(context, job, policy) for job in jobs_of(context)]))
        path, body = f"/v1/verifications/{ids[0]}/check", {"code": api.code(ids[0])}
        counted["check"].append(entered(lambda path=path, body=body: api.post(path, body)))  # type: ignore[misc]
    return {call: runs[_WARM:] for call, runs in counted.items()}


if __name__ == "__main__":
    main()
