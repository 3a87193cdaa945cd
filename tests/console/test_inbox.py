"""What people wrote back in their own words: kept sealed, read by support, decided once."""

import pytest
from support_caller import Caller
from support_console import Browser, new_person, sign_in
from support_installation import NUMBER
from support_outbox import Sender

from otp_service.console.accounts import Role
from otp_service.console.records import NumberViews
from otp_service.domain.audit import OperatorAction
from otp_service.errors import StoreUnavailableError, SuppressedError
from otp_service.gateways.base import InboundMessage
from otp_service.services.inbound import handle_message
from otp_service.store import keys
from otp_service.store.inbox import MAX_PER_NUMBER, MAX_WAITING, Inbox

WISH = "bhai ye cheez ab khatam samjhain"
OTHER_NUMBER = "+923007654321"


@pytest.fixture
def shop(installation) -> Caller:
    return Caller(installation)


def reads(installation, shop: Caller, to: str = NUMBER) -> None:
    """Bring a message of the shop's to a number, so that an answer counts for the shop."""
    shop.start(to)
    Sender(shop).deliver()


def writes(installation, text: str = WISH, sender: str = NUMBER, reference: str = "") -> None:
    handle_message(installation.context, "sandbox", InboundMessage(reference or text, sender, text))


def support(console, installation, *applications: str, name: str = "sara") -> Browser:
    browser = sign_in(console, new_person(installation, name, Role.SUPPORT, *applications))
    browser.get("/messages")
    return browser


def waiting(installation) -> list[str]:
    return [message.text for message in installation.context.store.inbox.waiting()]


def opened(browser: Browser, installation) -> str:
    """Return the path of the only message, on whose page the browser is."""
    (message,) = installation.context.store.inbox.waiting()
    assert browser.get(f"/messages/{message.id}").status_code == 200
    return f"/messages/{message.id}"


def test_a_wish_in_own_words_is_read_and_obeyed_at_the_application_that_it_answers(console, installation, shop):
    reads(installation, shop)
    writes(installation)
    browser = support(console, installation)
    assert WISH not in browser.page, "a look comes first"
    path = opened(browser, installation)
    assert WISH in browser.page
    assert [look.view for look in NumberViews(installation.context.ledger.database).latest(9)] == ["message"]

    assert browser.post(f"{path}/stop").location == "/messages"
    assert "gets no more messages" in browser.get("/messages").text
    with pytest.raises(SuppressedError):
        shop.start()
    assert waiting(installation) == []
    (action,) = installation.context.ledger.operator_actions.latest(1)
    assert (action.action, action.by, action.application) == (OperatorAction.SUPPRESSION_ADDED, "console:sara", "shop")

    writes(installation, "START")
    shop.start()


def test_a_message_that_asks_for_nothing_is_dismissed_and_that_is_recorded(console, installation, shop):
    reads(installation, shop)
    writes(installation)
    browser = support(console, installation)
    path = opened(browser, installation)

    assert browser.post(f"{path}/dismiss").location == "/messages"
    assert waiting(installation) == []
    shop.start()
    (action,) = installation.context.ledger.operator_actions.latest(1)
    assert (action.action, action.application) == (OperatorAction.MESSAGE_DISMISSED, "shop")
    assert browser.post(f"{path}/dismiss").status_code == 404
    assert browser.post(f"{path}/stop").status_code == 404


def test_nobody_reads_a_message_to_an_application_of_others(console, installation, shop):
    reads(installation, shop)
    writes(installation)
    writes(installation, "who is this?", OTHER_NUMBER)  # nobody wrote to that number
    messages = installation.context.store.inbox.waiting()
    browser = support(console, installation, "bank")

    assert "/messages/" not in browser.page
    for message in messages:
        assert browser.get(f"/messages/{message.id}").status_code == 404
        assert browser.post(f"/messages/{message.id}/stop").status_code == 404
    assert len(waiting(installation)) == 2
    assert len(support(console, installation, name="omar").page.split('href="/messages/')) == 3


def test_a_wish_about_nobody_known_holds_for_all_applications(console, installation, shop):
    writes(installation)
    browser = support(console, installation)
    browser.post(f"{opened(browser, installation)}/stop")

    with pytest.raises(SuppressedError):
        shop.start()


def test_a_message_that_was_decided_upon_while_redis_is_away_may_be_decided_again(
    console, installation, shop, monkeypatch
):
    reads(installation, shop)
    writes(installation)
    browser = support(console, installation)
    path = opened(browser, installation)
    with monkeypatch.context() as patched:
        patched.setattr(Inbox, "remove", lambda *_: (_ for _ in ()).throw(StoreUnavailableError("away")))
        assert browser.post(f"{path}/stop").status_code == 503
    with pytest.raises(SuppressedError):
        shop.start()

    assert browser.post(f"{path}/stop").location == "/messages"
    assert waiting(installation) == []


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("my code is 123456", ["my code is ####"]),
        ("call 0300-123 4567 now ok", ["call #### now ok"]),
        ("میرا کوڈ ۱۲۳۴۵۶ ہے", ["میرا کوڈ #### ہے"]),
        ("123456", []),
        ("12 34 56.", []),
        ("", []),
        ("🛑🛑", []),
        ("a" * 900, ["a" * 400]),
        ("ج" * 400, ["ج" * 400]),
        ("half \ud83d a pair", ["half ? a pair"]),
        ("<b>ok?</b>", ["<b>ok?</b>"]),
    ],
)
def test_what_is_kept_holds_no_code_and_no_number(console, installation, text, kept):
    writes(installation, text, reference="one")

    assert waiting(installation) == kept
    if kept:
        browser = support(console, installation)
        opened(browser, installation)
        assert "<b>ok" not in browser.page


def test_no_keyword_waits(installation, shop):
    reads(installation, shop)
    for text in ("STOP", "start", "help"):
        writes(installation, text)

    assert waiting(installation) == []


def test_a_repetition_waits_once(installation):
    for _ in range(3):
        writes(installation, reference="same")

    assert waiting(installation) == [WISH]


def test_a_site_may_keep_none(real_world):
    installation = real_world.install(inbound={"inbox": False})
    writes(installation)

    assert waiting(installation) == []


def test_one_number_fills_no_inbox_and_a_full_one_loses_nobody(installation, valkey, monkeypatch):
    for count in range(MAX_PER_NUMBER + 3):
        writes(installation, f"message {count} of many", reference=f"one {count}")
    assert len(waiting(installation)) == MAX_PER_NUMBER

    monkeypatch.setattr("otp_service.store.inbox.MAX_WAITING", MAX_PER_NUMBER + 1)
    writes(installation, sender=OTHER_NUMBER, reference="last place")
    writes(installation, sender="+923331234567", reference="no place")
    assert len(waiting(installation)) == MAX_PER_NUMBER + 1
    assert waiting(installation)[0] == "message 0 of many"
    assert MAX_WAITING == 1000
    assert valkey.client.ttl(keys.INBOX) > 0


def test_a_message_that_somebody_changed_in_redis_is_not_shown(installation, valkey):
    writes(installation)
    (entry,) = valkey.client.xrange(keys.INBOX)
    members = entry[1] | {b"pseudonym": b"A" * 22}
    valkey.client.xadd(keys.INBOX, members)

    assert waiting(installation) == [WISH]
