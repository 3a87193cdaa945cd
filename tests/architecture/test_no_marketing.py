"""No marketing through this door: nobody can send a text of his own, and no text can carry what he wants followed."""

import ast
import re
from pathlib import Path

import pytest
from pydantic import ValidationError
from support_api import START, Api
from support_installation import NUMBER, World
from support_sources import PACKAGE, modules

from otp_service.api.app import all_routes
from otp_service.api.docs import build_specification
from otp_service.domain.inbound import Meaning
from otp_service.domain.verification import PurposeKind
from otp_service.errors import ConfigurationError
from otp_service.gateways.base import InboundMessage
from otp_service.services import inbound
from otp_service.services.inbound import handle_message
from otp_service.settings import Settings
from otp_service.settings.message_files import read_templates

SPEC = build_specification(all_routes(with_metrics=True))
OFFER = "Buy now: 50% off everything"
IN_WORDS = {
    "to": "is a phone number, or refused",
    "code": "is digits, or refused",
    "amount": "is a number, or refused",
    "currency": "is a code of ISO 4217, or refused",
    "account": "is four digits, or refused",
    "payee": "is shown in the message of a payment: 30 printable characters at most, no link, no run of digits",
    "reference": "is never sent: the code is bound to it",
    "metadata": "is never sent: the caller gets it back",
    "user": "is never sent: the caller gets it back, proofs name it, and apps are kept under its pseudonym",
    "context": "is never sent, nor kept but as a pseudonym",
    "uri": "is a secret, or refused",
    "text_version": "is kept with a consent",
    "source": "is kept with a consent",
    "reason": "is kept with a suppression",
    "name": "is a brand, by an operator: 30 characters at most, no link but its own origin",
    "payees": "are payees that look like a link, by an operator",
    "purposes": "are names of the configuration, or refused",
    "countries": "are codes of ISO 3166, or refused",
    "dialects": "are names of installed packages, or refused",
    "region": "is a code of ISO 3166, or refused",
    "home": "is a code of ISO 3166, or refused",
    "hour": "is an amount of money, or refused",
    "day": "is an amount of money, or refused",
    "origin": "is a host name, or one of the application's origins, or refused",
    "browser_origins": "are origins of web pages, by an operator",
    "app_hash": "is eleven characters of base64, or refused",
    "addresses": "are networks, or refused",
    "human_check": "is a name of the configuration, or refused",
    "return_url": "is an address that an operator listed, letter by letter, and is never sent",
    "page_return_urls": "are addresses that people go back to from pages, by an operator",
    "page_color": "is a colour, or refused",
    "url": "is where an application is told of what happens: no person reads it",
}
"""Members that are of no form by the specification alone, and why none of them is the text of a message."""
SPEAK_TO_GATEWAYS = {"services/delivery.py", "services/inbound.py", "cli/gateway.py"}
"""What makes a message: of a verification, of a reply out of the templates, and the operator's fixed test."""
LINKS = [
    "https://acme.example/sale", "HTTP://x", "www.acme", "acme.example", "ACME.PK", "acme．example", "acme․example",
    "ａｃｍｅ.ｐｋ", "bit.ly/x7", "b\u200cit.l\u200cy", "بینک.پاک", "sub.acme.co.uk", "10.20.30.40", "8.8.8.8",
    "tel:+921234", "mailto:x", "upi:pay",
]  # fmt: skip
TEMPLATE = "{brand} {code}, {minutes}. {never_share}"


def strings(schema, name=""):
    """Yield the names of the strings that a schema takes, with what it demands of them."""
    if "$ref" in schema:
        schema = SPEC["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for one in [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]:
        yield from strings(one, name)
    if schema.get("type") == "string":
        yield name, schema
    for member, one in schema.get("properties", {}).items():
        yield from strings(one, member)
    further = schema.get("additionalProperties")
    for one in (further, schema.get("items")):
        if isinstance(one, dict):
            yield from strings(one, name)


def bodies():
    for path, methods in SPEC["paths"].items():
        for method, operation in methods.items():
            for media, content in operation.get("requestBody", {}).get("content", {}).items():
                yield f"{method} {path}", media, content["schema"]


def takes_a_sentence(schema):
    form = schema.get("pattern")
    bound = {"enum", "const"} & schema.keys() or schema.get("format")
    return not bound and (form is None or re.search(form, OFFER) is not None)


def test_no_call_takes_the_words_of_a_message():
    free = {name for _, _, schema in bodies() for name, one in strings(schema) if takes_a_sentence(one)}

    assert free == IN_WORDS.keys()


def test_what_gateways_say_is_the_only_body_without_a_schema():
    unknown = {call.partition(" ")[2] for call, media, _ in bodies() if media != "application/json"}

    assert unknown == {
        "/v1/receipts/{gateway}/{dispatch_id}",
        "/v1/receipts/{gateway}/all/{token}",
        "/v1/inbound/{gateway}/{token}",
    }


def test_every_body_refuses_members_that_it_does_not_know():
    for call, media, schema in bodies():
        if media == "application/json":
            resolved = SPEC["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            assert resolved.get("additionalProperties") is False, call


def test_messages_are_made_and_sent_in_three_places_only():
    made = {path.as_posix() for path, tree in modules() if _calls(tree, "Message")}
    sent = {
        path.as_posix()
        for path, tree in modules()
        if path.parts[0] not in {"gateways", "testing", "ledger"} and _calls(tree, "send")
    }

    assert made - {"testing/samples.py"} == SPEAK_TO_GATEWAYS
    assert sent - {"cli/child_processes.py"} == SPEAK_TO_GATEWAYS  # that one speaks with its own processes


def _calls(tree, name):
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return any(
        (isinstance(one, ast.Name) and one.id == name) or (isinstance(one, ast.Attribute) and one.attr == name)
        for one in called
    )


def test_of_what_a_caller_writes_the_handset_shows_the_payment_and_nothing_else(world: World):
    api = Api(world)
    one = api.start(
        purpose="payment",
        transaction={
            "amount": "1500.00", "currency": "PKR", "payee": "Corner Store", "account": "4821",
            "reference": "offer-in-the-reference",
        },
        metadata={"offer-in-a-name": "offer-in-a-value"},
        context="offer-in-the-context",
        locale="en-offer",
    )  # fmt: skip
    api.deliver()
    (caught,) = api.get(f"/v1/sandbox/messages?verification={one}").json

    assert caught["text"].startswith("Acme Shop: to pay PKR 1,500.00 to Corner Store from account 4821, enter ")
    assert "offer" not in caught["text"]


@pytest.mark.parametrize("member", ["text", "body", "message", "template", "sender", "from", "brand", "url", "link"])
def test_a_caller_who_tries_is_refused_before_anything_is_sent(world: World, member: str):
    api = Api(world)
    answer = api.post(START, {"to": NUMBER, member: OFFER})

    assert (answer.status_code, answer.json["code"]) == (400, "invalid-request")
    assert not [name for name in api.keys() if b":outbox:" in name]


def test_a_reply_is_of_the_catalogue_whatever_was_written(world: World):
    api = Api(world)
    api.start()
    api.deliver()
    context = api.installation.context
    for text in ("HELP", OFFER, "help https://x.example", "{brand}"):
        reply = handle_message(context, "sandbox", InboundMessage("", NUMBER, text))
        if reply:
            inbound.queue_reply(context, reply)
    assert inbound.send_replies(context) == 1
    texts = [one.text for one in context.store.mailbox.messages("shop", None)]

    assert texts[0] == context.templates.languages["en"].replies[Meaning.HELP].fill({"brand": "Acme Shop"})


# --- texts ---------------------------------------------------------------------------------------------------


def test_there_are_two_classes_of_messages_and_no_third():
    assert set(PurposeKind) == {"possession", "transaction"}
    for kind in ("promotional", "marketing", "otp", ""):
        with pytest.raises(ValidationError):
            Settings.model_validate({"purposes": {"sale": {"kind": kind}}})


def refusal(folder: Path, text: str, **purposes: object) -> str:
    (folder / "en.toml").write_text(text, encoding="utf-8")
    settings = Settings.model_validate({"messages": {"directory": str(folder)}, "purposes": purposes})
    with pytest.raises(ConfigurationError) as refused:
        read_templates(settings)
    return str(refused.value)


@pytest.mark.parametrize("name", ["promotional", "marketing", "sale", "newsletter"])
def test_a_text_for_another_class_cannot_be_registered(tmp_path: Path, name: str):
    assert f"templates.{name}: there is no section purposes.{name}" in refusal(
        tmp_path, f'[templates.{name}]\nsms = "{TEMPLATE}"\n'
    )


def test_a_text_cannot_say_that_it_is_of_another_class(tmp_path: Path):
    named = refusal(tmp_path, '[templates.possession]\nclass = "promotional"\n')

    assert "templates.possession.class: there is no such setting" in named


def test_an_offer_cannot_be_registered_as_a_code(tmp_path: Path):
    told = refusal(tmp_path, f'[templates.login]\nsms = "{{brand}}: {OFFER}"\n', login={})

    assert "templates.login.sms: names {code} not exactly once" in told


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("place", ["templates.possession.sms", "never_share", "replies.stop", "replies.help"])
def test_no_text_has_a_link_however_it_is_written(tmp_path: Path, link: str, place: str):
    section, _, member = place.rpartition(".")
    text = {"sms": f"{link} {TEMPLATE}", "never_share": link}.get(member, f"{{brand}} {link}")
    heading = f"[{section}]\n" if section else ""

    assert f"{place}: holds a link or a domain name" in refusal(tmp_path, f'{heading}{member} = "{text}"\n')


def brand(name: str, origin: str | None) -> Settings:
    table = {"purposes": ["login"], "countries": ["PK"], "name": name, **({"origin": origin} if origin else {})}
    return Settings.model_validate({"applications": {"shop": table}})


@pytest.mark.parametrize(
    ("name", "origin"),
    [("Acme.pk", "acme.pk"), ("Acme.PK", "login.acme.pk"), ("Acme Shop", None), ("St. Mary", None), ("A.B. Co", None)],
)
def test_a_brand_may_be_the_domain_name_of_its_own_origin(name: str, origin: str | None):
    assert brand(name, origin).named_applications["shop"].brand == name


@pytest.mark.parametrize(
    ("name", "origin"),
    [("Acme.pk", None), ("bit.ly", "acme.pk"), ("me.pk", "acme.pk"), ("Acme.pk bit.ly", "acme.pk"), ("a．pk", None)],
)
def test_a_brand_is_no_link_to_elsewhere(name: str, origin: str | None):
    with pytest.raises(ValidationError, match=r"messages may only have that of origin|it has letters, digits"):
        brand(name, origin)


def test_the_replies_of_the_package_are_in_every_language_and_name_the_brand():
    templates = read_templates(Settings())
    for language in templates.languages.values():
        assert language.replies.keys() == {Meaning.STOP, Meaning.HELP}
        assert all(reply.names == ("brand",) for reply in language.replies.values())
    assert (PACKAGE / "messages").is_dir()
