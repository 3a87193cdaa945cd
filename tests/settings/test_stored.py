"""Applications of the ledger are judged as those of the configuration are."""

import json

import pytest
from support_installation import tree
from support_messages import UNSAFE_NAMES, UNSAFE_SECTIONS

from otp_service.errors import InvalidApplicationError
from otp_service.settings import Settings, settings_from
from otp_service.settings.schema import ApplicationSection, ApplicationSettings
from otp_service.settings.stored_applications import dump_section, parse_application, parse_section

CLUB = {"purposes": ["login"], "countries": ["PK"]}
PRICED = {"kind": "sandbox", "prices": {"PK": "2.00"}}


def settings(**sections) -> Settings:
    return settings_from(tree("redis://localhost:1/0", **sections))


def refused(one: Settings, name: str = "club", **members) -> str:
    with pytest.raises(InvalidApplicationError) as invalid:
        parse_application(one, name, json.dumps(CLUB | members))
    return str(invalid.value)


def test_one_section_means_the_same_in_the_ledger_and_in_the_configuration():
    section = {**CLUB, "name": "Acme Club", "region": "PK", "locale": "ur", "spend": {"day": "100"}}
    one = settings(gateways={"sandbox": PRICED}, applications={"club": section})
    application, ruleset = parse_application(one, "club", dump_section(parse_section(section)))

    assert application == one.named_applications["club"]
    assert ruleset == one.rulesets["club"]


def test_all_that_an_application_of_the_configuration_may_have_one_of_the_ledger_may_but_for_keys():
    assert ApplicationSettings.model_fields.keys() - ApplicationSection.model_fields.keys() == {"keys"}


def test_what_was_given_is_kept_and_no_default_is():
    section = parse_section({**CLUB, "spend": {"day": "100"}})

    assert json.loads(dump_section(section)) == {**CLUB, "spend": {"day": "100"}}
    assert parse_section(json.loads(dump_section(section))) == section


def test_an_application_of_the_configuration_is_told_without_its_keys():
    shop = settings().applications["shop"]

    assert shop.keys
    assert "keys" not in json.loads(dump_section(shop))


def test_all_countries_are_for_development_only():
    development = settings()
    production = Settings.model_validate(tree("redis://localhost:1/0", environment="production"))

    assert parse_application(development, "club", json.dumps(CLUB | {"countries": ["*"]}))[0].countries is None
    assert refused(production, countries=["*"]).startswith("countries: '*' is for development only.")


def test_pages_of_a_developers_machine_are_for_development_only():
    production = Settings.model_validate(tree("redis://localhost:1/0", environment="production"))
    local = ["http://localhost:3000"]

    (application, _) = parse_application(settings(), "club", json.dumps(CLUB | {"browser_origins": local}))
    assert application.browser_origins == frozenset(local)
    assert refused(production, browser_origins=local).startswith("browser_origins: http://localhost:3000: for dev")


def test_production_asks_for_a_ceiling_or_the_word_that_there_is_none():
    production = Settings.model_validate(tree("redis://localhost:1/0", environment="production"))

    assert refused(production).startswith("spend: Nothing limits its spending")
    assert parse_application(production, "club", json.dumps(CLUB | {"spend": {"day": "none"}}))
    assert parse_application(settings(), "club", json.dumps(CLUB))  # development


def test_a_purpose_has_to_be_in_the_configuration():
    assert refused(settings(), purposes=["login", "hunter2"]) == (
        "purposes.1: there is no such purpose in the configuration; there are: login, payment."
    )


def test_a_ceiling_needs_prices():
    assert "applications.club.spend would not count these messages" in refused(settings(), spend={"hour": "5"})
    assert parse_application(
        settings(gateways={"sandbox": PRICED}), "club", json.dumps(CLUB | {"spend": {"hour": "5"}})
    )


@pytest.mark.parametrize("name", ["", "Club", "a b", "x" * 33, "club\n"])
def test_a_name_has_the_form_of_a_name(name):
    assert refused(settings(), name) == "A name must have 1 to 32 characters of a-z, 0-9, _ and -."


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '"x"', "{}", '{"purposes":["login"],"countries":["PK"],"x":1}']
)
def test_what_is_no_section_is_refused_in_the_same_way(text):
    with pytest.raises(InvalidApplicationError):
        parse_application(settings(), "club", text)


@pytest.mark.parametrize("brand", UNSAFE_NAMES)
def test_a_brand_that_no_payee_could_have_is_refused(brand):
    with pytest.raises(InvalidApplicationError, match=r"^name: is shown in messages: it has "):
        parse_application(settings(), "club", json.dumps(CLUB | {"name": brand}))


@pytest.mark.parametrize("name", UNSAFE_SECTIONS)
def test_a_name_that_could_not_stand_in_a_message_needs_a_brand_beside_it(name):
    assert refused(settings(), name).startswith("name: is missing, and messages would show the section's own: it has ")
    assert parse_application(settings(), name, json.dumps(CLUB | {"name": "Acme"}))
