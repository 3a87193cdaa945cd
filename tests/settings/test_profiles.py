"""Profiles, residency, and what countries demand: each unmet demand refuses to start, and says why."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support_gateways import require
from support_pakistan import table_of

from otp_service.cli.checks import Level
from otp_service.cli.doctor import settings_diagnoses
from otp_service.errors import ConfigurationError
from otp_service.services.sender_registrations import today
from otp_service.settings import load_settings, settings_from
from otp_service.settings.schema import ApplicationSection
from otp_service.settings.startup_checks import load_templates
from otp_service.settings.stored_applications import dump_section, parse_application

URL = "redis://127.0.0.1:1/0"
UNSAID = (
    "Its country is not set, and with residency = PK personal data stay in PK. "
    "Set the country where it runs. [residency]"
)
IN_PLACE = "and with residency = PK personal data stay in PK."
MOVE = "Use a system in PK. [residency]"
ROUTE = "Route messages to PK through another gateway, and this gateway to other countries only. [residency]"
NO_SENDER = (
    "senders: No sender is registered in PK for the application dev. "
    "Register a sender, and add a section [senders.NAME] with its reference. [no-sender]"
)
ELSEWHERE = {"kind": "vonage", "api_key": "k", "api_secret": "of-this-test", "from": "Acme"}


def refused(table: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigurationError) as reasons:
        load_templates(settings_from(table))
    return str(reasons.value).splitlines()


def test_the_example_of_the_profile_is_complete():
    settings = settings_from(table_of(URL))

    assert load_templates(settings)
    assert settings.residency == "PK"
    assert settings.countries["PK"].languages == ("ur", "en")


SWITCHES: list[tuple[dict[str, Any], str]] = [
    (
        {"without": ("applications.dev.consent",)},
        'applications.dev.consent: Messages to PK need a consent. Set it to "required". [consent-not-required]',
    ),
    (
        {"without": ("senders.dev",)},
        NO_SENDER,
    ),
    (
        {"senders": {"dev": {"country": "SA"}}},
        NO_SENDER,
    ),
    (
        {"senders": {"dev": {"applications": ["other"]}}},
        NO_SENDER,
    ),
    (
        {"senders": {"dev": {"category": "promotional"}}},
        (
            "senders: The senders in PK for the application dev are of another category. "
            "Register a sender, and add a section [senders.NAME] with its reference. [no-sender]"
        ),
    ),
    ({"senders": {"dev": {"sender_id": "ABCDEFGHIJKL"}}}, "senders.dev.sender_id: has 12 characters: at most 11 fit."),
    (
        {"senders": {"dev": {"sender_id": "INFO"}}},
        "senders.dev.sender_id: is a general word: it does not identify the sender.",
    ),
    (
        {"senders": {"dev": {"sender_id": "DEV-SHOP"}}},
        "senders.dev.sender_id: has other characters than letters A to Z, digits, and blanks between them.",
    ),
    (
        {"without": ("redis.hosted_in",)},
        f"redis.hosted_in: {UNSAID}",
    ),
    ({"redis": {"hosted_in": "SA"}}, f"redis.hosted_in: It is in SA, {IN_PLACE} {MOVE}"),
    ({"ledger": {"hosted_in": "SA"}}, f"ledger.hosted_in: It is in SA, {IN_PLACE} {MOVE}"),
    (
        {"without": ("logging.hosted_in",)},
        f"logging.hosted_in: {UNSAID}",
    ),
    ({"telemetry": {"traces": "otlp"}}, f"telemetry.hosted_in: {UNSAID}"),
    ({"telemetry": {"traces": "otlp", "hosted_in": "SA"}}, f"telemetry.hosted_in: It is in SA, {IN_PLACE} {MOVE}"),
    (
        {"gateways": {"far": {**ELSEWHERE, "hosted_in": "GB"}}},
        f"gateways.far.hosted_in: It is in GB, {IN_PLACE} {ROUTE}",
    ),
    (
        {"gateways": {"far": ELSEWHERE}},
        f"gateways.far.hosted_in: {UNSAID}",
    ),
    (
        {"gateways": {"plain": {"kind": "http", "url": "https://sms.example", "hosted_in": "PK"}}},
        (
            "gateways.plain: It does not set the sender, and PK requires registered senders. "
            "Route messages to PK through another gateway. [sender-not-shown]"
        ),
    ),
]


@pytest.mark.parametrize(("change", "reason"), SWITCHES)
def test_with_one_switch_of_the_profile_broken_nothing_starts_and_the_reason_is_told(
    change: dict[str, Any], reason: str
):
    assert refused(table_of(URL, **change)) == [reason]


SANDBOX = {"gateways": ["sandbox"]}


@pytest.mark.parametrize(
    "routes",
    [
        [{"countries": ["GB"], "gateways": ["far"]}, SANDBOX],
        [{"countries": ["PK"], **SANDBOX}, {"gateways": ["far"]}],
        [{"countries": ["PK"], **SANDBOX}, {"countries": ["GB", "PK"], "gateways": ["far"]}],
    ],
)
def test_a_gateway_that_carries_nothing_to_the_country_may_be_elsewhere(routes: list[dict[str, Any]]):
    settings = settings_from(table_of(URL, gateways={"far": {**ELSEWHERE, "hosted_in": "GB"}}, routes=routes))

    assert settings.routing.gateways_for("GB", "login", "sms")


@pytest.mark.parametrize(
    "routes",
    [
        [{"countries": ["GB", "PK"], "gateways": ["far"]}, SANDBOX],
        [{"countries": ["PK"], "purposes": ["login"], **SANDBOX}, {"gateways": ["far"]}],
        [{"countries": ["PK"], "channels": ["voice"], **SANDBOX}, {"gateways": ["far"]}],
        [SANDBOX],  # no route names it, but people may write to it
    ],
)
def test_a_gateway_that_may_handle_a_number_of_the_country_may_not(routes: list[dict[str, Any]]):
    table = table_of(URL, gateways={"far": {**ELSEWHERE, "hosted_in": "GB"}}, routes=routes)

    assert refused(table) == [f"gateways.far.hosted_in: It is in GB, {IN_PLACE} {ROUTE}"]


def test_a_gateway_that_only_calls_numbers_of_the_country_may_not_be_elsewhere():
    calling = {"kind": "http", "url": "https://calls.example/{to}", "channels": ["voice"], "hosted_in": "GB"}
    routes = [{"countries": ["PK"], "channels": ["sms"], **SANDBOX}, {"gateways": ["calls"]}]

    assert refused(table_of(URL, gateways={"calls": calling}, routes=routes)) == [
        f"gateways.calls.hosted_in: It is in GB, {IN_PLACE} {ROUTE}"
    ]


def test_a_policy_has_to_say_where_it_is_too():
    require("requests")
    policy = {"kind": "camara_sim_swap", "unknown": "deny", "base_url": "https://x.example/v2", "token": "of-this-test"}

    assert refused(table_of(URL, policies={"swap": policy})) == [f"policies.swap.hosted_in: {UNSAID}"]


def test_a_template_that_is_not_approved_word_by_word_refuses_to_start(tmp_path: Path):
    (tmp_path / "ur.toml").write_text('never_share = "یہ کسی کو نہ بتائیں۔"\n')
    lines = refused(table_of(URL, messages={"directory": str(tmp_path)}))

    assert [line.partition(". ")[0] for line in lines] == [
        "approvals: ur/possession/sms is not approved in PK",
        "approvals: ur/transaction/sms is not approved in PK",
    ]


def test_the_digest_that_is_asked_for_can_be_approved(tmp_path: Path):
    (tmp_path / "ur.toml").write_text('never_share = "یہ کسی کو نہ بتائیں۔"\n')
    lines = refused(table_of(URL, messages={"directory": str(tmp_path)}))
    digests = [line.partition("digest is ")[2][:64] for line in lines]
    approved = {"login-ur": {"sha256": digests[0]}, "payment-ur": {"sha256": digests[1]}}

    assert load_templates(settings_from(table_of(URL, messages={"directory": str(tmp_path)}, approvals=approved)))


def test_a_language_without_words_is_told():
    gulf = {"countries": {"SA": {"languages": ["ar", "fr"]}}}

    assert refused(table_of(URL, without=("profile",), **gulf)) == [
        "countries.SA.languages: there is no file of messages for fr."
    ]


@pytest.mark.parametrize("locale", ["fr", "fr-CA", "ar-Latn"])
def test_an_applications_language_without_words_is_told(locale):
    club = {"club": {"purposes": ["login"], "countries": ["GB"], "locale": locale}}

    assert refused(table_of(URL, without=("profile",), applications=club)) == [
        f"applications.club.locale: there is no file of messages for {locale}."
    ]


def test_what_has_ended_refuses_its_messages_and_not_the_start():
    yesterday = str(today() - timedelta(days=1))
    changes = {"senders": {"dev": {"valid_until": yesterday}}, "approvals": {"login-ur": {"valid_until": yesterday}}}

    assert load_templates(settings_from(table_of(URL, **changes)))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"countries": {"PK": {"senders": "any"}}}, "countries.PK.senders"),
        ({"countries": {"pk": {"senders": "any"}}}, "countries.PK.senders"),
        ({"countries": {"PK": {"languages": ["en"]}}}, "countries.PK.languages"),
        ({"residency": "SA"}, "residency"),
        ({"residency": ""}, "residency"),
    ],
)
def test_a_profile_cannot_be_contradicted(change: dict[str, Any], path: str):
    assert refused(table_of(URL, **change)) == [f"{path}: contradicts the profile pk: remove it."]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"countries": {"PK": {}, "pk": {"senders": "any"}}},
            "countries.PK: is set as PK and as pk: keep a single spelling.",
        ),
        (
            {"countries": {"pk": {"Consent": "required", "consent": "any"}}},
            "countries.PK.consent: is set as Consent and as consent: keep a single spelling.",
        ),
        (
            {"Residency": "PK", "residency": "PK"},
            "residency: is set as Residency and as residency: keep a single spelling.",
        ),
    ],
)
def test_what_a_profile_says_is_said_in_one_spelling_beside_it(change: dict[str, Any], line: str):
    assert refused(table_of(URL) | change) == [line]


def test_saying_the_same_again_is_no_contradiction():
    assert settings_from(table_of(URL, countries={"PK": {"senders": "registered"}}))


@pytest.mark.parametrize(
    ("profile", "reason"),
    [
        ("xx", "profile: there is no profile 'xx'; there are: pk. The path of a file has a / in it."),
        ("../pk", "../pk: cannot be read: No such file or directory."),
        (["pk"], "profile: must be the name of a profile, or the path of a file."),
        ([], "profile: must be the name of a profile, or the path of a file."),
        ("", "profile: is empty: name a profile, or remove the line."),
    ],
)
def test_a_profile_that_is_not_there_is_told(profile: object, reason: str):
    assert refused(table_of(URL, profile=profile)) == [reason]


def test_an_operator_may_have_a_profile_of_his_own(tmp_path: Path):
    own = tmp_path / "gulf.toml"
    own.write_text('[countries.SA]\nsenders = "registered"\n')
    settings = settings_from({**table_of(URL, without=("profile",)), "profile": str(own)})

    assert settings.countries["SA"].senders == "registered"


OTHERS = [
    'environment = "development"',
    'plaintext_hosts = ["redis.example"]',
    'profile = "pk"',
    '[redis]\nurl = "redis://:9f2c-of-another@redis.example/0"',
    "[applications.other]\nkeys = []",
    '[gateways.other]\nkind = "sandbox"',
    '[guard.modes]\n"number.lock" = "off"',
]


@pytest.mark.parametrize("text", OTHERS)
def test_a_profile_sets_nothing_but_what_a_country_asks(text: str, tmp_path: Path):
    own = tmp_path / "own.toml"
    own.write_text(f'residency = "PK"\n{text}\n')
    member = text.strip("[").replace(".", " ").replace("]", " ").split()[0]
    only = "but may set residency and countries only: remove it."

    assert refused(table_of(URL, profile=str(own))) == [f"profile: {own} sets {member}, {only}"]


def test_a_profile_holds_no_key(tmp_path: Path):
    own = tmp_path / "own.toml"
    own.write_text('[keys]\npseudonym = "9f2c-of-this-test"\n')
    (line,) = refused(table_of(URL, profile=str(own)))

    assert "keys.pseudonym does not belong in a configuration file" in line
    assert "9f2c" not in line


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is empty: name another, or remove the line."),
        (
            '[countries.PK]\nconsent = "required"\n[countries.pk]\nsenders = "registered"\n',
            "has countries.PK: is set as PK and as pk: keep a single spelling.",
        ),
    ],
)
def test_a_profile_says_something_once(text: str, fault: str, tmp_path: Path):
    own = tmp_path / "own.toml"
    own.write_text(text)

    assert refused(table_of(URL, profile=str(own))) == [f"profile: {own} {fault}"]


class TestFromTheEnvironment:
    """A variable that wins over the file would switch off what a country asks."""

    @staticmethod
    def profile(folder: Path, **variables: str) -> str | None:
        file = folder / "otp.toml"
        file.write_text('profile = "pk"\n')
        return load_settings(file, variables, to_start=False).profile

    def test_an_empty_variable_is_none(self, tmp_path: Path):
        assert self.profile(tmp_path, OTP_SERVICE__PROFILE="") == "pk"

    def test_another_profile_is_refused(self, tmp_path: Path):
        with pytest.raises(ConfigurationError) as reason:
            self.profile(tmp_path, OTP_SERVICE__PROFILE="/etc/own.toml")

        assert str(reason.value) == "profile: the file and OTP_SERVICE__PROFILE name different profiles: remove either."

    def test_the_same_may_be_said_again(self, tmp_path: Path):
        assert self.profile(tmp_path, OTP_SERVICE__PROFILE="pk") == "pk"

    def test_a_variable_may_name_one_where_the_file_does_not(self):
        assert load_settings(environ={"OTP_SERVICE__PROFILE": "pk"}, to_start=False).profile == "pk"


def test_doctor_names_the_profile_in_force():
    findings = list(settings_diagnoses(settings_from(table_of(URL))))

    assert [(one.level, one.sentence) for one in findings if one.subject == "profile"] == [
        (Level.OK, "pk is in force.")
    ]
    bare = settings_from(table_of(URL, without=("profile",)))
    assert not [one for one in settings_diagnoses(bare) if one.subject == "profile"]


def test_without_the_profile_nothing_of_it_is_asked_for():
    bare = table_of(URL, without=("profile", "redis.hosted_in", "senders", "approvals", "applications.dev.consent"))

    assert load_templates(settings_from(bare))


class TestInProduction:
    """What leaves by SIM cards is refused there alone."""

    @staticmethod
    def table(**gateway: Any) -> dict[str, Any]:
        sending = {**ELSEWHERE, "hosted_in": "PK", **gateway}
        limits = {"number": ["5/hour"], "failed_checks": ["10/hour"]}
        changes = {"environment": "production", "limits": limits, "gateways": {"main": sending}, "guard": {"modes": {}}}
        return {**table_of(URL, without=("gateways.sandbox", "guard")), **changes}

    def test_a_gateway_of_an_operator_may_carry_messages(self):
        assert settings_from(self.table())

    def test_one_that_leaves_by_sim_cards_may_not(self):
        (reason,) = refused(self.table(sim_box=True))
        assert reason == (
            "gateways.main: It sends through SIM cards, which PK does not allow. "
            "Route messages to PK through another gateway. [sim-box]"
        )

    def test_one_that_carries_nothing_there_may(self):
        elsewhere = {"far": {**ELSEWHERE, "hosted_in": "PK", "sim_box": True}}
        table = self.table()
        table["gateways"] |= elsewhere
        table["routes"] = [{"countries": ["PK"], "gateways": ["main"]}, {"gateways": ["far"]}]

        assert settings_from(table)

    def test_in_development_one_may_be_tried(self):
        assert settings_from(table_of(URL, gateways={"main": {**ELSEWHERE, "hosted_in": "PK", "sim_box": True}}))


@pytest.mark.parametrize(
    ("members", "line"),
    [
        (
            {"consent": "recorded"},
            'consent: Messages to PK need a consent. Set it to "required". [consent-not-required]',
        ),
        (
            {"countries": ["GB", "PK"]},
            'consent: Messages to PK need a consent. Set it to "required". [consent-not-required]',
        ),
    ],
)
def test_an_application_of_the_ledger_is_asked_the_same(members: dict[str, Any], line: str):
    settings = settings_from(table_of(URL))
    section = ApplicationSection.model_validate({"purposes": ["login"], "countries": ["PK"], **members})

    with pytest.raises(Exception, match="consent") as reasons:
        parse_application(settings, "other", dump_section(section))
    assert str(reasons.value).splitlines() == [line]


def test_an_application_of_the_ledger_needs_a_sender_too():
    settings = settings_from(table_of(URL, senders={"dev": {"applications": ["dev"]}}))
    section = ApplicationSection.model_validate({"purposes": ["login"], "countries": ["PK"], "consent": "required"})

    with pytest.raises(Exception, match="No sender is registered in PK for the application other"):
        parse_application(settings, "other", dump_section(section))
