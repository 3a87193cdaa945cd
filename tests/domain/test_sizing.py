"""How large an installation has to be: by hand with round figures, and what has to hold whatever was measured."""

import dataclasses

import pytest

from otp_service.domain import verification
from otp_service.domain.sizing import (
    BATCH,
    FIGURES,
    PAUSE,
    RECORD_SECONDS,
    THREADS,
    Basis,
    Figure,
    Load,
    Sizing,
    parse_amount,
)
from otp_service.settings.schema import (
    LedgerSettings,
    NumberSettings,
    PurposeSettings,
    RetentionSettings,
    WorkerSettings,
)
from otp_service.worker import recorder

ROUND = {
    **{name: Figure(0, "µs", "by hand") for name in FIGURES},
    "valkey_start": Figure(100, "µs", "by hand"),
    "valkey_delivery": Figure(250, "µs", "by hand"),
    "valkey_check": Figure(50, "µs", "by hand"),
    "valkey_event": Figure(25, "µs", "by hand"),
    "number": Figure(200, "bytes", "by hand"),
    "number_verification": Figure(50, "bytes", "by hand"),
    "network": Figure(100, "bytes", "by hand"),
    "record": Figure(600, "bytes", "by hand"),
    "dispatch": Figure(200, "bytes", "by hand"),
    "idempotency_key": Figure(300, "bytes", "by hand"),
    "waiting_event": Figure(400, "bytes", "by hand"),
    "wire_start": Figure(1000, "bytes", "by hand"),
    "replicated_check": Figure(500, "bytes", "by hand"),
    "ledger_verification": Figure(600, "bytes", "by hand"),
    "ledger_event": Figure(300, "bytes", "by hand"),
    "ledger_folded_verification": Figure(500, "bytes", "by hand"),
    "ledger_folded_event": Figure(75, "bytes", "by hand"),
    "ledger_audit_entry": Figure(200, "bytes", "by hand"),
    "recording": Figure(500, "µs", "by hand"),
    "recording_folded": Figure(250, "µs", "by hand"),
    "worker_message": Figure(1000, "µs", "by hand"),
    "worker_busy": Figure(1, "", "by hand"),
    "api_start": Figure(600, "µs", "by hand"),
    "api_check": Figure(400, "µs", "by hand"),
}
PLAIN = {"starts": 1000, "mean": 100, "known": 1_000_000, "resends": 0}


def _needs(figures=ROUND, **load):
    return {(one.part, one.what): one.amount for one in Sizing(Load(**{**PLAIN, **load}), figures).lines()}


def _bases(**load):
    return {one.what: one.basis for one in Sizing(Load(**{**PLAIN, **load}), FIGURES).lines()}


@pytest.mark.parametrize(
    ("text", "amount"),
    [("250", 250), ("0.5", 0.5), ("50k", 50_000), ("1.5M", 1_500_000), ("2G", 2e9), ("1e9", 1e9), ("1.2e+3", 1200)],
)
def test_amounts_are_written_as_people_write_them(text, amount):
    assert parse_amount(text) == amount


@pytest.mark.parametrize("text", ["", "-1", "1e", "50 k", "50K", "k", "1e400", "nan", "inf", "1_000", "٣"])
def test_anything_else_is_refused_with_a_sentence(text):
    with pytest.raises(ValueError, match="is not a number such as 250, 50k"):
        parse_amount(text)


def test_one_primary_by_hand():
    # 500 µs a start with its delivery, its check and four events: of a core that is half free, 1,000 a second.
    needs = _needs(replicas=1)

    assert needs["Redis", "starts that one primary bears"] == pytest.approx(1000)
    assert needs["Redis", "processor time at peak"] == pytest.approx(0.5)
    assert (needs["Redis", "primaries"], needs["Redis", "replicas"]) == (1, 1)


def test_beyond_one_primary_a_start_costs_more_and_all_of_it_is_estimated():
    # 650 µs: 2.5 times 100, and 400 for the rest.
    needs = _needs(starts=10_000)

    assert needs["Redis", "processor time at peak"] == pytest.approx(6.5)
    assert (needs["Redis", "primaries"], needs["Redis", "replicas"]) == (13, 26)
    assert _needs(starts=1001)["Redis", "primaries"] == 2
    assert _bases(starts=10_000)["processor time at peak"] == Basis.MEASURED  # the API's, which comes last
    assert _bases(starts=10_000)["primaries"] == Basis.ESTIMATED


def test_memory_by_hand():
    # 8,640,000 starts a day: 777.6 for each number in 90 days, of which it names 20; more addresses than people.
    needs = _needs()

    assert needs["Redis", "known numbers"] == pytest.approx((200 + 19 * 50) * 1e6 / 1e9)
    assert needs["Redis", "networks of end users"] == pytest.approx(1e6 * 100 / 1e9)
    assert needs["Redis", "live verifications"] == pytest.approx(1000 * 900 * 800 / 1e9)
    assert needs["Redis", "idempotency keys"] == pytest.approx(8.64e6 * 300 / 1e9)
    assert needs["Redis", "memory of a primary"] == pytest.approx(1.15 + 0.1 + 0.72 + 2.592)
    assert _needs(known=864_000_000, known_days=100)["Redis", "known numbers"] == pytest.approx(864e6 * 200 / 1e9)
    assert _needs(networks=500, idempotent=0)["Redis", "networks of end users"] == pytest.approx(500 * 100 / 1e9)


def test_processes_by_hand():
    needs = _needs(latency=0.5)

    assert needs["API", "processor time at peak"] == pytest.approx(1.0)
    assert needs["API", "to answer"] == 2
    assert needs["workers", "to call gateways"] == 8  # 500 calls under way, 64 in each
    assert needs["workers", "to record events"] == 3  # 4,000 events; each batch of 2,000 takes 1.25 seconds
    assert _needs(latency=0.01)["workers", "to call gateways"] == 2  # a millisecond each, of two processors half free


def test_ledger_network_and_money_by_hand():
    needs = _needs(retention=100, audit_retention=1000, price=2.5, replicas=2)

    assert needs["ledger", "rows at peak"] == pytest.approx(10_000)  # a verification, four events; an entry for each
    assert needs["ledger", "rows"] == pytest.approx(86_400_000)
    assert needs["ledger", "verifications and events"] == pytest.approx(8.64e6 * 1800 / 1e9)
    assert needs["ledger", "audit chain"] == pytest.approx(8.64e6 * 1000 / 1e9)
    assert needs["ledger", "all that is kept"] == pytest.approx(8.64e6 * (1800 * 100 + 1000 * 1000) / 1e12)
    assert needs["network", "between processes and Redis"] == pytest.approx(8)
    assert needs["network", "from primaries to replicas"] == pytest.approx(8)
    assert needs["money", "messages"] == pytest.approx(8_640_000)
    assert needs["money", "price of messages"] == pytest.approx(21_600_000)


def test_one_row_a_verification_by_hand():
    # 500 bytes and 75 for each of four events, one entry of the chain; events wait as long as records live.
    load = {"retention": 100, "audit_retention": 1000, "replicas": 2}
    one, each = _needs(rows="verifications", **load), _needs(**load)

    assert one["ledger", "rows at peak"] == pytest.approx(2000)
    assert one["ledger", "rows"] == pytest.approx(17_280_000)
    assert one["ledger", "verifications and events"] == pytest.approx(8.64e6 * 800 / 1e9)
    assert one["ledger", "audit chain"] == pytest.approx(8.64e6 * 200 / 1e9)
    assert one["ledger", "all that is kept"] == pytest.approx(8.64e6 * (800 * 100 + 200 * 1000) / 1e12)
    assert one["workers", "to record events"] == 2  # 4,000 events; each batch of 2,000 takes 0.75 seconds
    assert one["Redis", "events that wait for an end"] == pytest.approx(1000 * 900 * 4 * 400 / 1e9)
    assert one["Redis", "memory of a primary"] - each["Redis", "memory of a primary"] == pytest.approx(1.44)
    assert one["Redis", "streams.max_events of all buckets"] == 1000 * 900 * 4
    others = {what for what in one.keys() & each.keys() if what[0] != "ledger" and one[what] != each[what]}
    assert others == {("Redis", "memory of a primary"), ("workers", "to record events")}


def test_the_mean_is_a_fifth_of_the_peak_where_nobody_says():
    assert Load(starts=100, known=0).daily == 20 * 86_400


@pytest.mark.parametrize("member", ["starts", "mean", "known", "checks", "resends", "latency", "replicas", "retention"])
def test_more_load_never_needs_less(member):
    load = Load(**PLAIN)
    before = _needs(FIGURES)
    more = _needs(FIGURES, **{member: 2 * getattr(load, member) or 1})

    less = [what for what, amount in more.items() if amount < before[what] - 1e-9]
    assert [what for what in less if what[1] not in {"starts that one primary bears", "memory of a primary"}] == []
    assert more != before


def test_a_faster_core_bears_more_in_proportion():
    one, two = (_needs(FIGURES, core=core)["Redis", "starts that one primary bears"] for core in (1, 2))

    assert two == pytest.approx(2 * one)


@pytest.mark.parametrize(
    ("load", "sentence"),
    [
        ({"starts": 0}, "Starts must be from 0.001 to 1,000,000."),
        ({"known": 1e12}, "Known must be from 0 to 100,000,000,000."),
        ({"known_days": 0}, "Known days must be from 1 to 365."),
        ({"spare": 1}, "Spare must be from 0 to 0.95."),
        ({"checks": float("nan")}, "Checks must be from 0 to 10."),
        ({"mean": 1001}, "The mean cannot be above the peak."),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(load, sentence):
    with pytest.raises(ValueError, match=sentence):
        Load(**{**PLAIN, **load})


def test_its_defaults_are_those_of_the_settings_and_of_the_code():
    load = {one.name: one.default for one in dataclasses.fields(Load)}

    assert load["known_days"] == NumberSettings().known_days
    assert load["rows"] == LedgerSettings().rows
    assert (load["retention"], load["audit_retention"]) == (RetentionSettings().traffic, RetentionSettings().audit)
    assert PurposeSettings().ttl + verification.RECORD_GRACE == RECORD_SECONDS
    assert (WorkerSettings().concurrency // 2, recorder.BATCH_SIZE, recorder.BATCH_INTERVAL) == (THREADS, BATCH, PAUSE)


def test_every_figure_says_what_measures_it():
    assert {one.source.partition(",")[0] for one in FIGURES.values()} <= {
        "make bench", "make bench-delivery", "make bench-size",
    }  # fmt: skip
