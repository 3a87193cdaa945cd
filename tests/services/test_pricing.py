"""What a message may cost at most: as if it were written out, without writing it out for each start."""

import tomllib
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from support_caller import PAYMENT, Caller
from support_frozen import FrozenValkey
from support_guard import number, priced
from support_installation import World

from otp_service.domain import messages
from otp_service.domain.messages import MessageContent, render_message, segment_counter
from otp_service.domain.segments import segments
from otp_service.domain.templates import MessageTemplates
from otp_service.domain.verification import Channel, PurposeKind
from otp_service.services.pricing import max_price

ROOT = Path(__file__).parents[2]
PRICES = {"first": {"PK": "2", "GB": "7", "*": "1"}, "second": {"*/sms": "3", "*/voice": "20"}}
LOCALES = ["en", "ur", "ur-PK", "ur-Latn", "ar", "ar-EG", "fr", "ur-Arab-PK"]


def installed(world: World) -> Caller:
    sample = tomllib.loads((ROOT / "config" / "otp_service.toml").read_text(encoding="utf-8"))
    shop = {**sample["applications"]["shop"], "spend": {}, "origin": "shop.example", "app_hash": "FA+9qCX9VSu"}
    variants = {
        "shop": shop,
        "plain": {"purposes": ["login"], "countries": ["*"], "locale": "ur", "name": "Acme"},
        "long": {**shop, "name": "The Honest Shop of Lahore Road", "locale": "ur-Latn"},
    }
    purposes = sample["purposes"]
    purposes["signup"] = {**purposes["login"], "code_length": 8, "ttl": 600, "channels": ["voice", "sms"]}
    for one in variants.values():
        one["purposes"] = [*purposes]
    return Caller(
        world.install(
            purposes=purposes,
            applications=variants,
            gateways={name: {"kind": "sandbox", "prices": prices} for name, prices in PRICES.items()},
            countries={"PK": {"languages": ["ur-Latn", "en"]}},
        )
    )


def test_a_price_is_that_of_the_message_written_out_in_every_case(world: World) -> None:
    shop = installed(world)
    context, one_started = shop.context, shop.send(client_ip="203.0.113.7").verification
    seen = set()
    cases = product(context.applications.values(), context.purposes.values(), ("PK", "GB", "AE"), LOCALES)
    for application, purpose, country, locale in cases:
        if purpose.kind is PurposeKind.TRANSACTION:
            continue
        for channel in purpose.channels:
            asked = replace(one_started, purpose=purpose, country=country, locale=locale)
            got = max_price(context, application, asked, channel, None)
            costs = []
            for one in (channel, *purpose.channels_after(channel)):
                counts = [1]
                for minutes in range(messages.stated_minutes(purpose.ttl) + 1) if one is Channel.SMS else ():
                    languages = context.sending_rules.rules_of(country).languages
                    code = "0" * purpose.code_length
                    content = MessageContent(application, purpose, one, locale, code, minutes, None, languages)
                    counts.append(len(segments(render_message(context.templates, content).text)))
                costs += [prices.price(country, one, max(counts)) for prices in context.prices.values()]
            assert got == max(costs), (application.name, purpose.name, country, channel, locale)
            seen.add((channel, got))
    assert len({price for channel, price in seen if channel is Channel.SMS}) > 2, "texts of different lengths are seen"


def test_a_start_without_a_payment_writes_no_message_out(frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = priced(frozen, {"PK": "2"})
    shop.start(number(1))
    written = []
    monkeypatch.setattr(messages, "render_message", lambda *given: written.append(given) or WRITTEN(*given))
    for last, locale in enumerate((None, "en", "en-GB", "en-x-anything"), 2):
        shop.start(number(last), locale=locale)
    assert written == []
    shop.start(number(9), purpose="payment", transaction=PAYMENT)
    assert written


WRITTEN = messages.render_message


def test_words_for_fewer_minutes_count_where_they_are_the_longer_ones(world: World) -> None:
    context = installed(world).context
    application, purpose = context.applications["plain"], context.purposes["login"]
    english = context.templates.languages["en"]
    longer = replace(
        english, minutes=(english.minutes[0], "a single minute" + " and no more" * 20, *english.minutes[2:])
    )
    count = segment_counter(MessageTemplates({"en": longer}))

    assert segment_counter(context.templates)(application, purpose, "en") == 1
    assert count(application, purpose, "en") > 1
