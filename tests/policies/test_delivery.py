"""What policies make of a message on its way: asked once, before a gateway is, counted, logged and reported."""

import json
import logging
from dataclasses import replace

import pytest
from structlog.testing import capture_logs
from support_caller import PAYMENT, Caller
from support_installation import API_KEY, NUMBER, World, key
from support_outbox import POLICY, Scripted, Sender, dispatched, events, jobs_of, letters, refused, story, waiting
from support_policies import Judge, asked, under, verdicts

from otp_service.api.app import create_app
from otp_service.domain.consents import Suppression, SuppressionScope, SuppressionSource
from otp_service.domain.numbers import parse_destination
from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import Receipt
from otp_service.policies.base import ALLOW, DENY, PolicyError, PolicyRunner, not_by, only_by
from otp_service.services.consents import add_suppressions
from otp_service.services.delivery import deliver
from otp_service.services.number_history import Why, find_number_history
from otp_service.services.receipts import record_receipt
from otp_service.telemetry import metrics

THREE = {"login": {"channels": ["sms", "voice", "whatsapp"]}}
FIRST_AND_SECOND = {
    "gateways": {"first": {"kind": "sandbox"}, "second": {"kind": "sandbox"}},
    "routes": [{"gateways": ["first", "second"]}],
}


def sender(world: World, *policies: PolicyRunner, scripted=None, **sections) -> Sender:
    shop = Caller(under(world.install(**sections), *policies))
    return Sender(shop, **(scripted or {"sandbox": Scripted()}))


def channels_of(sender: Sender) -> list[str]:
    return [message.channel for gateway in sender.gateways.values() for message in gateway.sent]


def why(sender: Sender) -> Why:
    (case,) = find_number_history(sender.context, parse_destination(NUMBER, None)).verifications
    return case.explanation.why


def test_nobody_is_asked_about_a_number_whose_holder_said_stop(still_world: World):
    """He would be told the number."""
    judge = Judge(ALLOW)
    shop = sender(still_world, asked("looked-up", judge))
    shop.caller.start()
    entry = Suppression(shop.context.keyring.pseudonym(NUMBER), "shop", SuppressionScope.ALL, SuppressionSource.INBOUND)
    add_suppressions(shop.context, (entry,))
    shop.deliver()
    add_suppressions(shop.context, (replace(entry, lifted=True),))

    assert (judge.requests, shop.sent()) == ([], [])


def test_what_is_denied_reaches_no_gateway_and_is_reported(still_world: World):
    judge = Judge(DENY)
    shop = sender(still_world, asked("denied-here", judge))
    one = shop.caller.start()
    with capture_logs() as lines:
        shop.deliver()

    assert shop.sent() == []
    assert story(shop.caller, one) == [(1, 1, None, "failed", "policy denied-here")]
    assert letters(still_world.client) == ["policy denied-here"]
    assert events(still_world.client)[-2:] == ["delivery.failed", "message.given_up"]
    assert waiting(still_world.client) == 0
    assert [line["event"] for line in lines] == ["policy_asked", "message_given_up"]
    assert verdicts("denied-here") == {"deny": 1}
    assert b'reason="policy"' in metrics.exposition()
    assert b'reason="policy ' not in metrics.exposition()
    assert why(shop) is Why.POLICY
    (request,) = judge.requests
    assert (request.number, request.country, request.application) == (NUMBER, "PK", "shop")
    assert (request.purpose, request.channel, request.verification_id) == ("login", "sms", one)


def test_what_is_allowed_goes_its_way(still_world: World):
    shop = sender(still_world, asked("allowing", Judge(ALLOW)))
    shop.caller.start()
    shop.deliver()

    assert shop.sent() == ["sandbox"]
    assert verdicts("allowing") == {"allow": 1}


@pytest.mark.parametrize("answer", [PolicyError("http 503"), KeyError(NUMBER), lambda: None])
@pytest.mark.parametrize(
    ("unknown", "sent", "given_up"), [("allow", ["sandbox"], []), ("deny", [], ["no_verdict simswap"])]
)
def test_the_settings_say_what_unknown_means(still_world: World, answer, unknown, sent, given_up):
    shop = sender(still_world, asked("simswap", Judge(answer), unknown=unknown))
    shop.caller.start()
    with capture_logs() as lines:
        shop.deliver()

    assert (shop.sent(), letters(still_world.client)) == (sent, given_up)
    (line,) = (line for line in lines if line["event"] == "policy_asked")
    assert (line["log_level"], line["verdict"], line["policy"]) == ("warning", "unknown", "simswap")
    assert NUMBER not in repr(lines)
    assert sent or why(shop) is Why.POLICY


def test_a_long_name_is_cut_in_the_reason_and_no_number_in_it_is_shown(still_world: World):
    shop = sender(still_world, asked("a" * 32, Judge(PolicyError(f"for {NUMBER}")), unknown="deny"))
    shop.caller.start()
    with capture_logs() as lines:
        shop.deliver()

    assert letters(still_world.client) == [f"no_verdict {29 * 'a'}"]
    assert lines[0]["reason"] == "for __"


def test_another_channel_carries_the_message_and_is_asked_about_for_itself(still_world: World):
    judge = Judge(not_by("sms"), ALLOW)
    shop = sender(still_world, asked("redirecting", judge))
    one = shop.caller.start()
    with capture_logs() as lines:
        shop.deliver()
    assert (shop.sent(), letters(still_world.client)) == ([], [])
    assert "message_redirected" in [line["event"] for line in lines]
    shop.deliver()

    assert judge.channels == ["sms", "voice"]
    assert channels_of(shop) == ["voice"]
    assert story(shop.caller, one) == [(1, 1, "sandbox", "sent", None)]
    assert shop.caller.read(one).verification.channel == "voice"


def test_a_new_sim_gets_neither_sms_nor_a_call(still_world: World):
    shop = sender(
        still_world, asked("simswap", Judge(not_by("sms", "voice")), channels=["sms", "voice"]), purposes=THREE
    )
    shop.caller.start()
    shop.deliver()
    shop.deliver()

    assert channels_of(shop) == ["whatsapp"]


@pytest.mark.parametrize(
    ("verdict", "sections"),
    [
        (only_by("whatsapp"), {}),
        (only_by("pigeon"), {}),
        (not_by("sms", "voice"), {}),
        (not_by("sms", "voice", "whatsapp"), {"purposes": THREE}),
        (not_by("sms"), {"purposes": {"login": {"channels": ["sms", "voice"], "fallback": False}}}),
        (not_by("sms"), {"routes": [{"gateways": ["sandbox"], "channels": ["sms"]}]}),
        (not_by("sms"), {"purposes": {"login": {"channels": ["voice", "sms"]}}}),
    ],
)
def test_without_another_channel_the_message_is_given_up(still_world: World, verdict, sections):
    shop = sender(still_world, asked("simswap", Judge(verdict)), **sections)
    one = shop.caller.start(channel="sms")
    shop.deliver()

    assert shop.sent() == []
    assert story(shop.caller, one) == [(1, 1, None, "failed", "policy simswap")]
    assert letters(still_world.client) == ["policy simswap"]


def test_a_channel_that_is_not_excluded_is_taken(still_world: World):
    shop = sender(still_world, asked("simswap", Judge(not_by("voice"))))
    shop.caller.start()
    shop.deliver()

    assert channels_of(shop) == ["sms"]


def test_policies_are_asked_in_their_order_and_the_first_that_denies_ends_it(still_world: World):
    first, second, third = Judge(ALLOW), Judge(DENY), Judge(ALLOW)
    shop = sender(still_world, asked("first", first), asked("second", second), asked("third", third))
    shop.caller.start()
    shop.deliver()

    assert letters(still_world.client) == ["policy second"]
    assert [len(judge.requests) for judge in (first, second, third)] == [1, 1, 0]


@pytest.mark.parametrize(("one", "other"), [(("sms",), ("sms", "voice")), (("sms", "voice"), ("sms",))])
def test_each_may_narrow_the_channels_and_one_that_denies_still_ends_it(still_world: World, one, other):
    narrowing = asked("first", Judge(not_by(*one))), asked("second", Judge(not_by(*other)))
    shop = sender(still_world, *narrowing, purposes=THREE)
    shop.caller.start()
    shop.deliver()
    shop.deliver()
    assert channels_of(shop) == ["whatsapp"]

    stricter = sender(still_world, *narrowing, asked("third", Judge(DENY)), purposes=THREE)
    stricter.caller.start()
    stricter.deliver()
    assert letters(still_world.client) == ["policy third"]


@pytest.mark.parametrize("answer", [DENY, not_by("sms"), PolicyError("http 503")])
def test_record_only_counts_and_logs_and_changes_nothing(still_world: World, answer):
    name = f"watching-{answer.kind if answer in {DENY, not_by('sms')} else 'unknown'}"
    shop = sender(still_world, asked(name, Judge(answer), mode="record_only", unknown="deny"))
    shop.caller.start()
    with capture_logs() as lines:
        shop.deliver()

    assert channels_of(shop) == ["sms"]
    assert verdicts(name) == {name.removeprefix("watching-"): 1}
    assert next(line["enforced"] for line in lines if line["event"] == "policy_asked") is False


def test_one_that_is_off_is_not_asked(still_world: World):
    judge = Judge(DENY)
    shop = sender(still_world, asked("off", judge, mode="off"))
    shop.caller.start()
    shop.deliver()

    assert (shop.sent(), judge.requests) == (["sandbox"], [])


def test_it_is_asked_per_purpose_and_application(still_world: World):
    judge = Judge(DENY)
    shop = sender(still_world, asked("payments", judge, purposes=["payment"], applications=["shop"]))
    shop.caller.start()
    shop.caller.start(purpose="payment", transaction=PAYMENT)
    shop.deliver()

    assert shop.sent() == ["sandbox"]
    assert [request.purpose for request in judge.requests] == ["payment"]


def test_it_is_asked_once_for_a_message_however_many_gateways_are_tried(still_world: World):
    judge = Judge()
    failing = {name: Scripted(*[refused("unavailable")] * 2) for name in ("first", "second")}
    shop = sender(still_world, asked("once", judge), scripted=failing, **FIRST_AND_SECOND)
    shop.caller.start()
    shop.deliver()
    still_world.advance(1.3)  # after a round through all, the back-off, at its longest
    shop.deliver()

    assert len(shop.sent()) == 4
    assert judge.channels == ["sms"]


def test_it_is_not_asked_again_while_the_message_waits_for_a_gateways_turn(still_world: World):
    judge = Judge()
    paced = {"sandbox": {"kind": "sandbox", "per_second": 0.5}}
    shop = sender(still_world, asked("once", judge), gateways=paced)
    shop.caller.start()
    shop.caller.start("+923001234568")
    shop.deliver()
    for _ in range(3):
        assert len(shop.held) == 1
        shop.go_on()
    still_world.advance(2.1)
    shop.go_on()

    assert (shop.held, shop.sent()) == ([], ["sandbox"] * 2)
    assert [request.number for request in judge.requests] == [NUMBER, "+923001234568"]


def test_a_message_of_another_number_or_another_message_of_the_same_is_asked_about(still_world: World):
    judge = Judge()
    shop = sender(still_world, asked("each", judge))
    one = shop.caller.start()
    shop.caller.start("+923001234568")
    shop.deliver()
    still_world.advance(31)
    shop.caller.resend(one)
    shop.deliver()

    assert [request.number for request in judge.requests] == [NUMBER, "+923001234568", NUMBER]


def test_a_message_whose_worker_died_in_its_call_is_not_asked_about_again(still_world: World):
    judge = Judge(DENY)
    shop = sender(still_world, asked("once", judge))
    one = shop.caller.start()
    (job,) = jobs_of(shop.context, "dead")
    dispatched(shop.context, job, "sandbox")
    still_world.advance(0.001)
    (job,) = shop.context.store.outbox.claim("heir", 1, 0)
    deliver(shop.context, job, POLICY)

    assert judge.requests == []
    assert [status for *_, status, _ in story(shop.caller, one)] == ["unknown", "sent"]


def test_it_is_not_asked_about_what_nobody_wants(still_world: World):
    judge = Judge(DENY)
    shop = sender(still_world, asked("never", judge), purposes={"login": {"resend": "new_code"}})
    canceled, superseded = shop.caller.start(), shop.caller.start("+923001234568")
    shop.caller.cancel(canceled)
    jobs = jobs_of(shop.context)
    still_world.advance(31)
    shop.caller.resend(superseded)
    for job in jobs:
        deliver(shop.context, job, POLICY)
    assert (judge.requests, letters(still_world.client)) == ([], [])

    still_world.advance(301)
    (job,) = jobs_of(shop.context)
    deliver(shop.context, job, POLICY)
    assert (judge.requests, letters(still_world.client)) == ([], ["expired"])


def test_who_no_longer_has_a_message_does_not_give_it_up(still_world: World):
    for verdict in (DENY, not_by("sms")):
        shop = sender(still_world, asked("late", Judge(verdict)))
        shop.caller.start()
        (job,) = jobs_of(shop.context, "stopped")
        still_world.advance(0.001)
        shop.context.store.outbox.claim("heir", 1, 0)
        with capture_logs() as lines:
            deliver(shop.context, job, POLICY)

        assert [line["event"] for line in lines] == ["policy_asked"]
        assert letters(still_world.client) == []
        still_world.client.flushall()


def test_a_channel_to_which_a_message_fell_back_is_asked_about_and_what_failed_before_stays_told(still_world: World):
    judge = Judge(DENY)
    gateway = Scripted(refused("channel", "21614"))
    shop = sender(still_world, asked("calls", judge, channels=["voice"]), scripted={"sandbox": gateway})
    one = shop.caller.start()
    shop.deliver()
    shop.deliver()

    assert channels_of(shop) == ["sms"]
    assert story(shop.caller, one) == [(1, 1, "sandbox", "failed", "channel 21614")]
    assert letters(still_world.client) == ["policy calls"]


def test_what_nobody_knows_of_stays_unknown_when_the_next_channel_is_denied(still_world: World):
    gateway = Scripted(refused("channel", "21614", ambiguous=True))
    shop = sender(still_world, asked("calls", Judge(DENY), channels=["voice"]), scripted={"sandbox": gateway})
    one = shop.caller.start()
    shop.deliver()
    shop.deliver()

    assert story(shop.caller, one) == [(1, 1, "sandbox", "unknown", "channel 21614")]
    assert letters(still_world.client) == ["policy calls"]


def test_a_message_that_arrived_after_all_is_not_asked_about(still_world: World):
    judge, gateway = Judge(DENY), Scripted(refused("channel", "21614"))
    shop = sender(still_world, asked("calls", judge, channels=["voice"]), scripted={"sandbox": gateway})
    shop.caller.start()
    shop.deliver()
    record_receipt(shop.context, "sandbox", gateway.sent[0].dispatch_id, Receipt(DeliveryStatus.DELIVERED, "delivered"))
    shop.deliver()

    assert (judge.requests, letters(still_world.client)) == ([], [])


def test_a_further_message_after_a_receipt_is_asked_about(still_world: World):
    judge = Judge(ALLOW, DENY)
    shop = sender(still_world, asked("each", judge))
    one = shop.caller.start()
    shop.deliver()
    (sent,) = shop.gateways["sandbox"].sent
    record_receipt(shop.context, "sandbox", sent.dispatch_id, Receipt(DeliveryStatus.UNDELIVERED, "undelivered"))
    shop.deliver()

    assert judge.channels == ["sms", "voice"]
    assert story(shop.caller, one)[-1] == (2, 1, None, "failed", "policy each")


def test_a_message_that_is_put_back_is_asked_about_again(still_world: World):
    shop = sender(still_world, asked("simswap", Judge(PolicyError("http 503"), ALLOW), unknown="deny"))
    shop.caller.start()
    shop.deliver()
    (letter,) = shop.context.store.dead_letters.newest(10)
    shop.context.store.dead_letters.redrive(letter)
    shop.deliver()

    assert shop.sent() == ["sandbox"]


def test_a_message_that_cannot_be_read_is_reported_as_such(still_world: World):
    judge, pseudonym = Judge(DENY), key()
    shop = sender(still_world, asked("never", judge), keys={"root": f"k1:{key()}", "pseudonym": pseudonym})
    shop.caller.start()
    later = sender(still_world, asked("never", judge), keys={"root": f"k2:{key()}", "pseudonym": pseudonym})
    later.deliver()

    assert (judge.requests, letters(still_world.client)) == ([], ["unreadable"])


def test_nothing_over_http_asks_a_policy(still_world: World):
    judge = Judge(DENY)
    client = create_app(under(still_world.install(), asked("never", judge))).test_client()
    headers = {"Authorization": f"Bearer {API_KEY}"}
    one = client.post("/v1/verifications", json={"to": NUMBER}, headers=headers).json["id"]
    still_world.advance(31)
    answers = [
        client.post(f"/v1/verifications/{one}/{path}", json=body, headers=headers).status_code
        for path, body in (("check", {"code": "123456"}), ("resend", {}), ("cancel", None))
    ]
    answers.append(client.get(f"/v1/verifications/{one}", headers=headers).status_code)

    assert answers == [200, 202, 200, 200]
    assert judge.requests == []


def test_the_number_is_in_no_log_line_and_in_nothing_that_is_kept(still_world: World, caplog, capsys):
    with caplog.at_level(logging.DEBUG), capture_logs() as lines:
        for answer in (DENY, not_by("sms"), PolicyError(NUMBER), ValueError(NUMBER)):
            shop = sender(still_world, asked("simswap", Judge(answer), unknown="deny"))
            shop.caller.start()
            shop.deliver()
            shop.deliver()
    written = repr(lines) + caplog.text + "".join(capsys.readouterr())
    kept = b"".join(still_world.client.dump(name) for name in still_world.client.scan_iter("*"))

    digits = NUMBER.removeprefix("+")
    assert lines
    assert digits not in written + json.dumps(verdicts("simswap"))
    assert digits.encode() not in kept
