"""The message that a gateway is given."""

import pytest
from support_caller import PAYMENT, Caller
from support_installation import NUMBER, World

from otp_service.domain.messages import Message
from otp_service.services.delivery import compose_message
from otp_service.store.outbox import Dispatched, Job

APP_HASH = "FA+9qCX9VSu"
SHOP = {
    "name": "Acme Shop", "purposes": ["login", "payment"], "countries": ["PK"], "region": "PK", "client_ip": "none",
    "locale": "ur", "origin": "shop.example", "app_hash": APP_HASH,
}  # fmt: skip


@pytest.fixture
def shop(still_world: World) -> Caller:
    return Caller(still_world.install(applications={"shop": SHOP}))


def message_of(caller: Caller, one: str, channel: str = "sms", later: int = 0) -> Message:
    """Return the message of a verification as a worker makes it, some milliseconds after the start."""
    verification = caller.read(one).verification
    started = verification.expires - verification.purpose.ttl * 1000
    purpose, expires = verification.purpose.name, verification.expires
    job = Job("00", "queue", "1-0", "worker", one, "shop", purpose, "PK", channel, 1, 0, expires, ())
    return compose_message(
        caller.context, job, Dispatched("dp_1", 1, 1, "sandbox", "configured", started + later, verification)
    )


def test_a_message_is_in_the_locale_of_the_start_or_else_of_the_application(shop: Caller):
    english, own = (message_of(shop, shop.start(**members)) for members in ({"locale": "en-GB"}, {}))

    assert (english.locale, own.locale) == ("en-GB", "ur")
    assert english.text.startswith("Your Acme Shop code is ")
    assert own.text.startswith("آپ کا Acme Shop کوڈ:\n")


def test_a_text_message_ends_with_the_applications_origin_and_hash(shop: Caller):
    one = shop.start()
    code = shop.code(one)

    assert message_of(shop, one).text.endswith(f"\n@shop.example #{code} {APP_HASH}")
    assert APP_HASH not in message_of(shop, one, "whatsapp").text


def test_a_channel_that_was_fallen_back_to_has_its_own_words(shop: Caller):
    one = shop.start(locale="en")
    spoken = message_of(shop, one, "voice")

    assert spoken.channel == "voice"
    assert spoken.text.count(", ".join(shop.code(one))) == 2


def test_a_payment_shows_the_canonical_amount_that_the_code_is_bound_to(shop: Caller):
    one = shop.start(purpose="payment", locale="en", transaction=PAYMENT)

    assert f"to pay PKR 1,500.00 to Daraz, enter {shop.code(one)}." in message_of(shop, one).text


@pytest.mark.parametrize(
    ("later", "lifetime"),
    [(0, "5 minutes"), (60_000, "4 minutes"), (65_000, "4 minutes"), (66_000, "3 minutes"), (240_000, "1 minute"),
     (246_000, "less than a minute"), (400_000, "less than a minute")],
)  # fmt: skip
def test_the_lifetime_is_what_is_left_rounded_down(shop: Caller, later: int, lifetime: str):
    assert f"It is valid for {lifetime}." in message_of(shop, shop.start(locale="en"), later=later).text


def test_a_gateway_gets_what_the_text_was_made_of_and_never_the_number(shop: Caller):
    one = shop.start(locale="en")
    variables = message_of(shop, one).variables

    assert variables == {"brand": "Acme Shop", "code": shop.code(one), "minutes": "5 minutes"}
    assert NUMBER not in str(variables)
