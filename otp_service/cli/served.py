"""What each server process runs: the application, bound to the life of ``serve``."""

import atexit
import logging
import multiprocessing
import os
import resource
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any
from wsgiref.types import WSGIApplication

from granian.server import mp

from otp_service.cli.children import end_with_parent
from otp_service.cli.quick_start import collect_again, hold_collections

if TYPE_CHECKING:
    from otp_service.settings import Settings  # a server process imports them when it is given some

CONNECTIONS = 4096
"""Connections that one process holds at a time, idle ones included; others wait in the backlog and are told nothing."""
_OTHER_FILES = 256
"""Files beside them: connections to Redis and the ledger, logs, metrics."""

if multiprocessing.parent_process():  # a server process: of ours it imports this first, and ends its start in `app`
    hold_collections()


def app(settings: "Settings", line: Connection) -> Any:  # noqa: ANN401 - a WSGI application
    """Return the application of `otp_service.wsgi` with the settings that ``serve`` found good.

    Not with those that the files hold by now: a process that takes the place of one that died must be like the others.
    Over the ``line`` it tells its parent that it is ready, and hears when it is to leave.

    Granian is given a `Door` to call, before which requests wait.

    The process ends when ``serve`` is killed: without that it would go on to hold the port, unattended. It sees to
    that before anything else, since ``serve`` may be killed while the application is imported.
    """
    if parent := multiprocessing.parent_process():
        end_with_parent(parent.pid or 0)
    from otp_service import wsgi  # noqa: PLC0415 - takes a second
    from otp_service.cli.leaving import Leaving  # noqa: PLC0415

    _allow_files(CONNECTIONS + _OTHER_FILES)
    service = wsgi.app(settings)
    mp._wsgi_call_wrap = partial(_door, settings.http.threads, service.awaits_body)  # type: ignore[attr-defined]  # noqa: SLF001 - there is no setting for that
    application = Leaving(service, settings.http.port)
    atexit.register(_leave)
    collect_again()
    application.obey(line)
    return application


def _door(most: int, awaits_body: Callable[..., bool], application: WSGIApplication, *_: object) -> Any:  # noqa: ANN401 - what granian calls
    """Return what granian is to call with each request, instead of its own wrapper around an application."""
    from otp_service.cli.door import Door  # noqa: PLC0415

    return Door(application, most, awaits_body)


def _allow_files(count: int) -> None:
    """Let this process open so many files at once, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        allowed = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def _leave() -> None:
    """End the process, when the server has finished its requests, without taking the interpreter apart.

    A thread may still wait for Redis on behalf of a caller who has gone. Were it to come back into an interpreter that
    is being finalised, it would abort the process, or hang it.
    """
    from otp_service.telemetry import tracing  # noqa: PLC0415 - with the application

    tracing.close()
    logging.shutdown()
    os._exit(0)
