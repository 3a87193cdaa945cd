"""The worker process: its threads, its periodic duties, signals."""

import secrets
import signal
import socket
import string
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from otp_service.bootstrap import Installation, watch
from otp_service.domain.routing import BreakerState
from otp_service.errors import StoreUnavailableError
from otp_service.gateways.base import SupportsConnections
from otp_service.services.audit import HeadSigner, head_to_json
from otp_service.services.call_outcomes import record_slow_calls
from otp_service.services.delivery import RetryPolicy, deliver
from otp_service.services.inbound import send_replies
from otp_service.services.newcomer_traffic import TrafficJudge
from otp_service.services.periodic_tasks import PeriodicTasks, Purger
from otp_service.services.sender_registrations import RegistrationMonitor
from otp_service.store.leases import LEASE_RENEWAL
from otp_service.store.outbox import Job
from otp_service.telemetry import metrics, tracing
from otp_service.telemetry.logging import audit_line_writer, get_logger, log_context
from otp_service.worker.jobs import DeferredJobs, InFlight, Periodic
from otp_service.worker.recorder import Recorder
from otp_service.worker.webhooks import WebhookSender

_PURGE_PERIOD: Final = 60.0
"""Seconds between two checks whether a purge is due."""
_PURGE_PAUSE: Final = 0.05
"""Seconds between two batches, in which others can write."""


def purge_tasks(installation: Installation, stop: threading.Event) -> PeriodicTasks:
    """Return the task that purges the ledger; ``stop`` ends a purge between two batches."""
    retention_days = installation.settings.retention.days
    purger = Purger(installation.context, retention_days, lambda: stop.wait(_PURGE_PAUSE))
    return PeriodicTasks({"purge": purger.purge_if_due}, _PURGE_PERIOD)


_AUDIT_HEAD_PERIOD: Final = 30.0
"""Seconds between two checks whether a head is due."""


def audit_head_tasks(installation: Installation) -> PeriodicTasks:
    """Return the task that signs and exports heads of the audit chain."""
    settings, context = installation.settings.audit, installation.context
    outlet = audit_line_writer(settings.export)
    export = (lambda signed: outlet(head_to_json(context, signed))) if outlet else None
    return PeriodicTasks({"audit": HeadSigner(context, settings.every, export).sign_if_due}, _AUDIT_HEAD_PERIOD)


def registration_tasks(installation: Installation) -> PeriodicTasks:
    """Return the task that announces the end of registrations."""
    return PeriodicTasks({"registrations": RegistrationMonitor(installation.context.sending_rules).check_daily})


_JUDGE_PERIOD: Final = 5.0
"""Seconds between two judgements of the traffic of unknown numbers."""


def judge_tasks(installation: Installation, name: str) -> PeriodicTasks:
    """Return the task that judges the traffic of unknown numbers, in turn with other workers."""
    return PeriodicTasks({"judge": TrafficJudge(installation.context, name).judge}, _JUDGE_PERIOD)


def sum_tasks(installation: Installation) -> PeriodicTasks:
    """Return the task that sums limits which buckets share."""
    is_shared = installation.settings.keys.buckets > 1
    return PeriodicTasks({"sums": installation.context.store.limit_sums.update} if is_shared else {})


_SLOW_CALLS_PERIOD: Final = 0.2
"""Seconds between two looks for calls in flight that last too long."""

_log = get_logger(__name__)

_POLL_INTERVAL = 0.5
"""Seconds between two checks of the stop event, of claims and of retries."""
_BUSY_POLL_INTERVAL = 0.2
"""The same while messages are in flight."""
_HEARTBEAT_INTERVAL = 5
_BREAKER_VALUES = {BreakerState.CLOSED: 0.0, BreakerState.HALF_OPEN: 0.5, BreakerState.OPEN: 1.0}
_SWEEP_INTERVAL = 3600


class Worker:
    """Delivers messages until ``stop`` is set; its ``predecessor`` of before a reload may have calls in flight."""

    def __init__(self, installation: Installation, stop: threading.Event, predecessor: "Worker | None" = None) -> None:
        settings = installation.settings
        self._predecessor = predecessor
        self.last_round = time.monotonic()
        """When this worker last looked for messages, or was made; by the monotonic clock."""
        self._connected = {
            name: gateway
            for name, gateway in installation.context.gateways.items()
            if isinstance(gateway, SupportsConnections)
        }
        """Gateways that keep connections, until they are closed."""
        self._unopened = set(self._connected)
        """Gateways that wait for the predecessor to close its connections: providers limit their number."""
        self._context = installation.context
        self._outbox = installation.context.store.outbox
        self._stop = stop
        self._retry_policy = RetryPolicy(settings.worker.max_ambiguous, settings.worker.backoff)
        self._concurrency = settings.worker.concurrency
        self._held_jobs = DeferredJobs(self._concurrency)
        self._poll_interval = min(_POLL_INTERVAL, settings.redis.timeout / 2)
        self._busy_interval = min(_BUSY_POLL_INTERVAL, self._poll_interval)
        self._claim_after = settings.claim_after
        # Letters only: redaction leaves such a name in logs.
        letters = "".join(secrets.choice(string.ascii_lowercase) for _ in range(10))
        self._consumer = f"{socket.gethostname()}-{letters}"
        self._profile = settings.profile
        self._in_flight = InFlight()
        self._replying = threading.Lock()
        """Held while replies are sent: their gateways stay open."""
        self._threads = (
            watch(installation),
            Recorder(self._context, self._consumer, settings.ledger.timeout, settings.redis.timeout / 2),
            WebhookSender(installation, self._consumer),
            purge_tasks(installation, stop),
            audit_head_tasks(installation),
            registration_tasks(installation),
            judge_tasks(installation, self._consumer),
            sum_tasks(installation),
            PeriodicTasks({"replies": self._send_replies}),
            PeriodicTasks({"slow_calls": lambda: record_slow_calls(self._context)}, _SLOW_CALLS_PERIOD),
        )
        """In the order of their start; the last to start stops first."""
        self._heartbeat = Periodic(_HEARTBEAT_INTERVAL, self._send_heartbeat)
        self._renew = Periodic(self._claim_after / 3, self._renew_claims)
        self._duties = (
            Periodic(LEASE_RENEWAL, lambda: self._outbox.share.renew(self._consumer)),
            self._heartbeat,
            Periodic(_HEARTBEAT_INTERVAL, self._report_gateways),
            self._renew,
            Periodic(_BUSY_POLL_INTERVAL, self._open_gateways),
            Periodic(min(1.0, self._claim_after / 2), self._claim),
            Periodic(_SWEEP_INTERVAL, lambda: self._outbox.sweep(1000 * _SWEEP_INTERVAL)),
        )

    def work(self) -> None:
        """Deliver messages until asked to stop; then hand back those that wait."""
        _log.info("worker_started", worker=self._consumer, concurrency=self._concurrency, profile=self._profile)
        for name in self._connected:
            self._context.gateway_calls.suspend(name)
        self._open_gateways()
        for threads in self._threads:
            threads.start()
        self._pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="deliver")
        while not self._stop.is_set():
            self._run_once()
        self._try(lambda: self._outbox.release(self._consumer))
        self._try(self._hand_back)

    def finish(self) -> None:
        """Wait for the calls in flight, renewing their claims; then stop all else."""
        while self._in_flight.wait_below(1, self._poll_interval):
            for duty in (self._heartbeat.run_if_due, self._renew.run_if_due, self._hand_back, self._close_gateways):
                self._try(duty)
        self._pool.shutdown()
        self._try(self._hand_back)
        for threads in reversed(self._threads):
            threads.stop()
        self._try(self._close_gateways)
        _log.info("worker_stopped", worker=self._consumer)

    def has_closed(self, gateway: str) -> bool:
        """Return whether neither this worker nor its predecessors keep connections of a gateway."""
        before = self._predecessor
        return gateway not in self._connected and (before is None or before.has_closed(gateway))

    def _open_gateways(self) -> None:
        before = self._predecessor
        for name in sorted(self._unopened):
            if before is None or before.has_closed(name):
                self._connected[name].open()
                self._unopened.remove(name)
                self._context.gateway_calls.resume(name)
        if not self._unopened:
            self._predecessor = None

    def _close_gateways(self) -> None:
        if not self._replying.acquire(blocking=False):
            return
        try:
            for name in list(self._connected):
                if self._context.gateway_calls.suspend(name):
                    if name not in self._unopened:
                        self._connected[name].close()
                    del self._connected[name]
        finally:
            self._replying.release()

    def _run_once(self) -> None:
        self.last_round = time.monotonic()
        for duty in self._duties:
            self._try(duty.run_if_due)
        if not self._try(self._take):
            self._stop.wait(self._poll_interval)

    def _try(self, action: Callable[[], None]) -> bool:
        """Do an action, and return whether it succeeded: a failure must not stop other messages."""
        try:
            action()
        except StoreUnavailableError:
            metrics.store_errors.count(operation="worker")
            _log.warning("store_unavailable", worker=self._consumer)
        except Exception:  # noqa: BLE001 - a defect
            _log.exception("worker_defect", worker=self._consumer)
        else:
            return True
        return False

    def _take(self) -> None:
        for job in self._held_jobs.take_due():
            self._in_flight.resume(job)
            self._pool.submit(self._deliver, job)
        free = self._concurrency - self._in_flight.wait_below(self._concurrency, self._busy_interval)
        if free <= 0:
            self._outbox.pass_on()
            return
        due = self._outbox.due_buckets()
        jobs = self._outbox.take(self._consumer, free, self._held_jobs.full_queues(), due)
        self._begin(jobs)
        if not jobs:  # wait for a new job, a retry, or the turn of a held one
            seconds = min(self._poll_interval, self._held_jobs.seconds_to_next())
            if self._in_flight.busy:  # a job in flight may be held next
                seconds = min(seconds, self._busy_interval)
            self._outbox.wait(max(1, round(1000 * seconds)))

    def _renew_claims(self) -> None:
        if jobs := self._in_flight.jobs():
            self._outbox.renew(self._consumer, jobs)

    def _claim(self) -> None:
        free = self._concurrency - self._in_flight.busy
        if free > 0:
            self._begin(self._outbox.claim(self._consumer, free, int(self._claim_after * 1000)))

    def _begin(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            if self._in_flight.add(job):
                self._pool.submit(self._deliver, job)

    def _deliver(self, job: Job) -> None:
        """Deliver a job, and then jobs that wait for its gateways: its end may have made room for them."""
        following: Job | None = job
        while following and self._finish_job(following) and not self._stop.is_set():
            routes, ended = self._context.routes, following
            following = self._held_jobs.take_next(routes.gateways_for(ended.country, ended.purpose, ended.channel))
            if following:
                self._in_flight.resume(following)

    def _finish_job(self, job: Job) -> bool:
        """Deliver a job in the trace of the call that queued it; return whether it ended, and is not held."""
        held, ended = None, False
        span = tracing.span(
            "deliver", "consumer", job.trace, application=job.application, verification=job.id, message=job.message
        )
        try:
            with log_context(verification=job.id, message=job.message), span:
                held = deliver(self._context, job, self._retry_policy)
                ended = held is None
                tracing.annotate(outcome="ended" if ended else "held")
        except StoreUnavailableError:  # it stays in the outbox, and is claimed again
            metrics.store_errors.count(operation="deliver")
            _log.warning("store_unavailable", verification=job.id)
        except Exception:  # noqa: BLE001 - one job's defect must not end the others; it is claimed again
            _log.exception("delivery_defect", verification=job.id)
        finally:
            if held is None:
                self._in_flight.remove(job)
            else:
                self._in_flight.pause(held.job)
                self._held_jobs.hold(held.job, held.milliseconds, held.gateways)
        return ended

    def _send_replies(self) -> None:
        with self._replying:
            if not self._unopened:
                send_replies(self._context, self._stop.is_set)

    def _send_heartbeat(self) -> None:
        self._context.store.server.claim()  # a Redis that was emptied must not serve another pseudonym key
        self._context.store.server.note_worker(self._consumer, 3 * _HEARTBEAT_INTERVAL)

    def _report_gateways(self) -> None:
        metrics.outbox_lag.set(self._outbox.lag())
        for name, health in self._context.store.health.of(tuple(self._context.gateways)).items():
            metrics.gateway_breaker_open.set(_BREAKER_VALUES[health.state], gateway=name)
        for name, calls in self._context.gateway_calls.in_flight().items():
            metrics.gateway_calls_in_flight.set(calls, gateway=name)

    def _hand_back(self) -> None:
        """Return the jobs that wait in this worker to the outbox."""
        jobs = self._held_jobs.take_all()
        self._in_flight.drop(jobs)
        self._outbox.requeue_job(self._consumer, jobs)


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Let SIGTERM and SIGINT call ``stop``. Call it in the main thread."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())


_STALLED_AFTER: Final = 120.0
"""Seconds without a round after which a worker has stalled. While Redis hangs, a round takes up to 30."""
_MAX_FINISHING = 4
"""Maximum replaced workers with calls in flight: further reloads wait."""


class ReloadableWorker:
    """Runs a worker, and at each reload another with the new settings, in the same process.

    The next one works while calls of its predecessor are in flight. An ``exec`` would interrupt deliveries, end while
    Redis is away, and lose the metrics.
    """

    def __init__(self, first: Installation) -> None:
        self.present = first
        """The installation of the current worker, or of the next."""
        self._worker: Worker | None = None
        self._over = False
        self._end = threading.Event()
        """Stops the current worker."""
        self._changed = threading.Condition()
        self._count = 0
        self._finishing: set[threading.Thread] = set()

    def run(self) -> None:
        """Work until `stop`, and until all calls have ended. Jobs held by a worker go to the next."""
        worker = None
        while installation := self._begin():
            self._worker = worker = Worker(installation, self._end, worker)
            worker.work()
            thread = threading.Thread(target=self._finish, args=(worker, installation), name="finishing worker")
            self._finishing.add(thread)
            thread.start()
            if not metrics.is_multiprocess():  # there a value stays until another process replaces it
                metrics.gateway_breaker_open.clear()
                metrics.gateway_calls_in_flight.clear()
        for thread in list(self._finishing):
            thread.join()

    def _finish(self, worker: Worker, installation: Installation) -> None:
        try:
            worker.finish()
            installation.close()
        finally:
            with self._changed:
                self._finishing.remove(threading.current_thread())
                self._changed.notify_all()

    def is_healthy(self) -> bool:
        """Return whether the worker makes its rounds, also while Redis is away; true while it begins or stops."""
        return self._over or self._worker is None or time.monotonic() - self._worker.last_round < _STALLED_AFTER

    def stop(self) -> None:
        """Stop for good. Called by a signal handler, so it takes no lock."""
        self._over = True
        self._end.set()

    def reload(self, installation: Installation) -> None:
        """Replace the worker by another of the installation; return once that has begun."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._finishing) < _MAX_FINISHING)
            begun = self._count
            self.present = installation
            self._end.set()
            self._changed.wait_for(lambda: self._over or self._count > begun)

    def _begin(self) -> Installation | None:
        with self._changed:
            self._end = threading.Event()  # before the look at _over, which stop() sets first
            self._count += 1
            self._changed.notify_all()
            return None if self._over else self.present
