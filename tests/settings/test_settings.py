"""The tree: its errors, and the objects that it becomes."""

import copy
from importlib.metadata import entry_points

import pytest
from support_installation import tree
from support_messages import UNSAFE_NAMES, UNSAFE_SECTIONS

from otp_service import bootstrap
from otp_service.domain.applications import ClientIpSource
from otp_service.domain.guard import Limit, LimitScope
from otp_service.domain.hosted_pages import contrast_with_white
from otp_service.domain.keyring import Keyring
from otp_service.domain.verification import Channel, PurposeKind
from otp_service.errors import ConfigurationError
from otp_service.gateways.base import GATEWAY_ENTRY_POINTS
from otp_service.settings import settings_from
from otp_service.settings.schema import ApplicationSection
from otp_service.settings.settings import MASK, mask_secrets
from otp_service.settings.startup_checks import unmet_needs

URL = "redis://:hunter2-of-redis@localhost:6379/0"
KINDS = sorted(entry_points(group=GATEWAY_ENTRY_POINTS).names)
"""Ours, and those of packages that are installed beside us."""


def refused(table):
    with pytest.raises(ConfigurationError) as refusal:
        settings_from(table)
    return str(refusal.value).splitlines()


def changed(path, value):
    """Return a valid table with one member replaced."""
    table = copy.deepcopy(tree(URL))
    *steps, last = path.split(".")
    place = table
    for step in steps:
        place = place.setdefault(step, {})
    place[last] = value
    return table


_PAGE_URL = "is https://, a host in lower case, and a path: no user, query or fragment."
FAULTS = {
    **{
        f"a return address {what}": (
            "applications.shop.page_return_urls",
            [url],
            f"applications.shop.page_return_urls.0: {_PAGE_URL}",
        )
        for what, url in {
            "with a query": "https://shop.example/back?x=1",
            "with a fragment": "https://shop.example/back#x",
            "with a user": "https://a@shop.example/back",
            "of another scheme": "shop://back",
            "without a host": "https:///b",
            "over http": "http://shop.example/back",
            "without a path": "https://shop.example",
            "of any host": "https://*/",
            "that ends a policy": "https://shop.example;x/",
            "with capitals": "https://Shop.example/back",
            "of another loopback": "http://127.0.0.1/back",
            "with a space": "https://shop.example/a b",
        }.items()
    },
    "pages without an address of our own": (
        "applications.shop.page_return_urls",
        ["https://shop.example/back"],
        "applications.shop.page_return_urls: needs http.public_url, where the pages are.",
    ),
    "a colour by name": (
        "applications.shop.page_color",
        "red",
        "applications.shop.page_color: is a colour such as #0a6e4f.",
    ),
    "a colour that is too light": (
        "applications.shop.page_color",
        "#777777",
        "applications.shop.page_color: is too light: white on it has a contrast of less than 4.5.",
    ),
    "an unknown section": ("redsi", {}, 'redsi: there is no such setting. Did you mean "redis"?'),
    "an unknown member": ("http.prot", 80, 'http.prot: there is no such setting. Did you mean "port"?'),
    "an unknown environment": (
        "environment",
        "prod",
        "environment: input should be 'production' or 'development'.",
    ),
    "a port out of range": ("http.port", 0, "http.port: input should be greater than or equal to 1."),
    "another scheme": (
        "redis.url",
        "http://x",
        "redis.url: is not an address that starts with redis://, rediss:// or unix://.",
    ),
    "a port that is no number": (
        "redis.url",
        "redis://localhost:secret",
        "redis.url: is not an address that starts with redis://, rediss:// or unix://.",
    ),
    "a list that is none": (
        "limits.ip",
        "50/hour",
        'limits.ip: is not a list: write ["..."], with one or more members.',
    ),
    "a gateway's list that is none": (
        "gateways.backup",
        {"kind": "http", "url": "https://sms.example/", "channels": "sms"},
        'gateways.backup.channels: is not a list: write ["..."], with one or more members.',
    ),
    "a slow refusal": ("redis.timeout", 1.5, "redis.timeout: input should be less than or equal to 1."),
    "a limit that is none": (
        "limits.ip",
        ["lots"],
        "limits.ip: 'lots' is not a limit such as '5/10 minutes'.",
    ),
    "a long life": ("purposes.login.ttl", 601, "purposes.login.ttl: input should be less than or equal to 600."),
    "a short code": (
        "purposes.login.code_length",
        5,
        "purposes.login.code_length: input should be greater than or equal to 6.",
    ),
    "six guesses of a payment": (
        "purposes.payment.max_checks",
        6,
        "purposes.payment: max_checks is at most 5 for a transaction.",
    ),
    "a payment by a channel that does not show it": (
        "purposes.payment.channels",
        ["sms", "telegram"],
        "purposes.payment: telegram shows only a code, not the amount and payee of a transaction.",
    ),
    "a channel twice": (
        "purposes.login.channels",
        ["sms", "sms"],
        "purposes.login.channels: repeats a name.",
    ),
    "a name in capitals": ("purposes.Login", {}, "purposes.Login: must have 1 to 32 characters of a-z, 0-9, _ and -."),
    "an origin with a scheme": (
        "applications.shop.origin",
        "https://shop.example",
        "applications.shop.origin: is a host name such as shop.example: lower case, no scheme, port or path.",
    ),
    "an origin that ends a line": (
        "applications.shop.origin",
        "shop.example\n",
        "applications.shop.origin: is a host name such as shop.example: lower case, no scheme, port or path.",
    ),
    "a brand with a link": (
        "applications.shop.name",
        "evil.example/a",
        "applications.shop.name: is shown in messages: it has letters, digits, spaces and the signs . - & ' only.",
    ),
    "a purpose that is not there": (
        "applications.shop.purposes",
        ["login", "signup"],
        "applications.shop.purposes: there is no section purposes.signup.",
    ),
    "a route to nowhere": (
        "routes",
        [{"gateways": ["primary"]}],
        "routes.0.gateways: there is no section gateways.primary.",
    ),
    "a route for no purpose": (
        "routes",
        [{"gateways": ["sandbox"], "purposes": ["signup"]}],
        "routes.0.purposes: there is no section purposes.signup.",
    ),
    "a gateway of no kind": (
        "gateways.primary",
        {"kind": "pigeon"},
        f"gateways.primary.kind: there is no gateway of kind 'pigeon'; there are: {', '.join(KINDS)}.",
    ),
    "a gateway's unknown member": (
        "gateways.sandbox",
        {"kind": "sandbox", "auth_tokn": "hunter2"},
        "gateways.sandbox.auth_tokn: there is no such setting.",
    ),
    "a gateway's slow timeout": (
        "gateways.sandbox.timeout",
        61,
        "gateways.sandbox.timeout: input should be less than or equal to 60.",
    ),
}


@pytest.mark.parametrize(("path", "value", "line"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_told_in_one_line_with_its_path(path, value, line):
    assert refused(changed(path, value)) == [line]


def test_all_faults_are_told_at_once():
    table = changed("http.port", 99999)
    table["purposes"]["login"]["ttl"] = 0
    table["gateways"]["sandbox"] |= {"a": 1, "b": 2}
    assert [line.partition(":")[0] for line in refused(table)] == [
        "http.port",
        "purposes.login.ttl",
        "gateways.sandbox.a",
        "gateways.sandbox.b",
    ]


SECRETS = {
    "redis.url": "hunter2://secret",
    "keys.root": "hunter2",
    "keys.pseudonym": "hunter2",
    "applications.shop.keys": ["hunter2"],
    "gateways.primary": {"kind": "twilio", "auth_token": {"hunter2": "hunter2"}, "account_sid": "hunter2"},
    "gateways.sandbox": {"kind": {"hunter2": 1}},
}


@pytest.mark.parametrize(("path", "value"), SECRETS.items(), ids=SECRETS.keys())
def test_an_error_never_shows_the_value_of_a_secret(path, value):
    lines = refused(changed(path, value))
    assert lines
    assert "hunter2" not in "\n".join(lines).replace("auth_token.hunter2", "")


@pytest.mark.parametrize(
    "url",
    [
        "redis://h/0?socket_timeout=900",
        "redis://h/0?hunter2=1",
        "redis://h/0?hunter2",
        "redis://h/0?ssl_cert_reqs=none",
        "rediss://h/0?ssl_cert_reqs=hunter2",
        "rediss://h/0?ssl_ca_certs=/a&timeout=900",
        "rediss://h/0?ssl_ca_certs=",
        "unix:///run/redis.sock?db=x",
        "unix:///run/redis.sock?timeout=900",
        "redis://:/hunter2@host/0",
        "redis://user/hunter2",
        "redis://user:a?hunter2@host/0",
        "redis://user:a#hunter2@host/0",
        "unix://:a/hunter2@/run/redis.sock",
        "redis://h/0/1",
        "redis://h/0#hunter2",
        "redis://h/hunter2",
    ],
)
def test_an_address_of_redis_says_nothing_beside_where_it_is(url):
    (line,) = refused(changed("redis.url", url))
    assert line.startswith("redis.url: ")
    assert "hunter2" not in line


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://h/",
        "redis://user:a%2Fb%40c@h:1/15",
        "redis://user:a@b@h/0",
        "rediss://h/0?ssl_cert_reqs=required&ssl_ca_certs=/etc/ca.pem&ssl_certfile=/c&ssl_keyfile=/k",
        "unix:///run/redis.sock?db=1",
        "unix://user:pw@/run/redis.sock",
    ],
)
def test_an_address_that_is_accepted_can_be_used_with_our_time_outs(url):
    settings = settings_from(changed("redis.url", url))
    pool = bootstrap.connect(settings).connection_pool
    assert pool.make_connection().socket_timeout == settings.redis.timeout
    assert not {"user", "pw", "a@b", "%2F"} & set(settings.redis.shown_url.split(":"))


def test_neither_repr_nor_the_redacted_tree_shows_a_secret():
    table = tree(URL)
    settings = settings_from(table)
    shown = f"{settings!r} {settings.redacted()}"
    for secret in ("hunter2", table["keys"]["root"], table["keys"]["pseudonym"]):
        assert secret not in shown
    assert settings.redacted()["redis"]["url"] == "redis://localhost:6379/0"


def test_a_token_that_was_written_into_a_gateway_is_not_shown():
    named = {
        "headers": {"Authorization": "Bearer hunter2", "X-API-KEY": "hunter2", "Accept": "application/json"},
        "query": {"accessToken": "hunter2", "to": "{to}"},
        "json": {"login": [{"Password": "hunter2"}], "text": "{text}"},
        "basic_auth": ["user", "hunter2"],
    }
    backup = {"kind": "http", "url": "https://sms.example/", "secrets": {"one": "hunter2"}, **named}
    settings = settings_from(changed("gateways.backup", backup))
    shown = settings.redacted()["gateways"]["backup"]
    assert "hunter2" not in f"{shown}"
    assert shown["headers"] == {"Authorization": MASK, "X-API-KEY": MASK, "Accept": "application/json"}
    assert shown["query"]["to"] == "{to}"
    assert shown["json"]["text"] == "{text}"
    assert settings.gateways["backup"].settings.headers["Authorization"] == "Bearer hunter2"


@pytest.mark.parametrize(
    ("member", "value", "shown"),
    [
        ("url", "https://sms.example/send?to={to_plain}&u=hunter2&p=", f"?to={{to_plain}}&u={MASK}&{MASK}"),
        ("url", "https://sms.example/send?hunter2", f"?{MASK}"),
        ("headers", {"X-Signature": "hunter2", "Cookie": "hunter2"}, MASK),
        ("query", {"pwd": "hunter2", "passphrase": "hunter2"}, MASK),
        ("form", {"client_credential": "hunter2"}, MASK),
        ("json", {"auth": {"user": "hunter2", "pin": 4711, "list": ["hunter2"]}}, MASK),
    ],
)
def test_a_secret_written_into_any_part_of_a_gateway_is_not_shown(member, value, shown):
    backup = {"kind": "http", "url": "https://sms.example/", member: value}
    tree = settings_from(changed("gateways.backup", backup)).redacted()["gateways"]["backup"]
    assert shown in str(tree[member])
    assert "hunter2" not in str(tree)
    assert "4711" not in str(tree)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:hunter2@sms.example/a", f"https://{MASK}@sms.example/a"),
        ("HTTPS://hunter2@sms.example", f"https://{MASK}@sms.example"),
        ("https://sms.example/a?b=hunter2#hunter2", f"https://sms.example/a?b={MASK}#{MASK}"),
        ("https://sms.example/a", "https://sms.example/a"),
        ("http://[hunter2", MASK),
    ],
)
def test_an_address_is_shown_without_what_may_be_secret_in_it(url, shown):
    assert mask_secrets({"base_url": url}) == {"base_url": shown}


def test_a_public_address_is_kept_without_its_last_slash():
    assert (
        settings_from(changed("http.public_url", "https://otp.example/x/")).http.public_url == "https://otp.example/x"
    )


@pytest.mark.parametrize("locale", ["en", "pt-BR", "zh-Hant-TW", "de-CH-1996", "en-u-ca-buddhist", "sr-Latn-x-a"])
def test_a_locale_is_a_tag_of_bcp_47(locale):
    assert settings_from(changed("applications.shop.locale", locale)).named_applications["shop"].locale == locale


@pytest.mark.parametrize("locale", ["", "e", "en_GB", "en-", "en\n", "en-" + "abcdefgh-" * 4 + "a"])
def test_a_locale_that_is_no_tag_is_refused(locale):
    (line,) = refused(changed("applications.shop.locale", locale))
    assert line.startswith("applications.shop.locale: ")


@pytest.mark.parametrize("name", UNSAFE_NAMES)
def test_a_brand_that_no_payee_could_have_is_refused(name):
    (line,) = refused(changed("applications.shop.name", name))
    assert line.startswith("applications.shop.name: ")


@pytest.mark.parametrize("name", ["Acme Bank", "H&M", "Toys 'R' Us", "24 Shop", "St. Mary-le-Bow 365", "دکان نمبر ۲۴"])
def test_a_brand_may_be_of_any_script(name):
    assert settings_from(changed("applications.shop.name", name)).named_applications["shop"].brand == name


def test_a_brand_is_composed_as_a_payee_is():
    assert settings_from(changed("applications.shop.name", "Cafe\u0301")).named_applications["shop"].brand == "Café"


@pytest.mark.parametrize("name", UNSAFE_SECTIONS)
def test_a_section_whose_own_name_could_not_stand_in_a_message_needs_another(name):
    section = {"purposes": ["login"], "countries": ["PK"]}
    (line,) = refused(changed(f"applications.{name}", section))
    assert line.startswith(f"applications.{name}.name: is missing, and messages would show the section's own: it has ")
    assert settings_from(changed(f"applications.{name}", {**section, "name": "Acme"}))


@pytest.mark.parametrize(
    "origin",
    ["https://shop.example", "https://shop.example:8443", "https://xn--hxajbheg2az3al.example", "https://localhost:3000",
     "https://intranet", "https://192.0.2.1", "https://a-b.c9.example:1", "https://shop.example:65535",
     "http://localhost", "http://localhost:3000", "http://127.0.0.1:8080"],
)  # fmt: skip
def test_an_origin_of_pages_is_what_browsers_send(origin):
    found = settings_from(changed("applications.shop.browser_origins", [origin]))

    assert found.named_applications["shop"].browser_origins == {origin}


@pytest.mark.parametrize(
    "origin",
    ["*", "null", "", "https://", "https://*.shop.example", "https://shop.example/", "https://shop.example:443",
     "https://shop.example:", "https://shop.example:0", "https://shop.example:08443", "https://shop.example:65536",
     "https://Shop.example", "HTTPS://shop.example", "https://shop.example.", "https://-shop.example", "https://ش.example",
     "https://user@shop.example", "https://shop.example?a", "https://shop.example#a", "https://shop.example\n",
     " https://shop.example", "https://a,https://b", "https://[::1]", "https://" + "a" * 64,
     "https://" + "a." * 150 + "b", "http://shop.example", "http://localhost:80", "http://localhost/", "http://localhost.evil.example",
     "http://127.0.0.2", "http://127.0.0.1.evil.example", "http://[::1]:3000", "ws://localhost", "file://"],
)  # fmt: skip
def test_what_no_browser_sends_as_an_origin_is_refused(origin):
    (line,) = refused(changed("applications.shop.browser_origins", [origin]))

    assert line == (
        "applications.shop.browser_origins.0: is an origin as browsers send it, https://HOST or https://HOST:PORT: "
        "lower case, no path, no slash at the end, no port 443; for development only also http://localhost and "
        "http://127.0.0.1, with a port or without."
    )


def test_one_key_belongs_to_one_application():
    table = tree(URL)
    table["applications"]["bank"]["keys"] += table["applications"]["shop"]["keys"]
    assert refused(table) == ["applications.bank.keys.1: is a key of applications.shop already."]


# --- what it becomes ----------------------------------------------------------------------------------------


def test_the_tree_becomes_the_objects_of_the_rules():
    settings = settings_from(changed("applications.shop.countries", ["*"]))
    shop, bank = settings.named_applications["shop"], settings.named_applications["bank"]
    assert (shop.brand, shop.countries, shop.client_ip) == ("Acme Shop", None, ClientIpSource.CONNECTION)
    assert bank.countries == {"PK"}
    assert {application.name for application in settings.application_of_key.values()} == {"shop", "bank"}
    payment = settings.named_purposes["payment"]
    assert (payment.name, payment.kind, payment.channels) == ("payment", PurposeKind.TRANSACTION, (Channel.SMS,))
    assert settings.limits.parsed[LimitScope.NUMBER] == (
        Limit(LimitScope.NUMBER, 5, 600),
        Limit(LimitScope.NUMBER, 10, 86400),
    )
    assert isinstance(settings.keyring(), Keyring)
    assert settings.claim_after == 1.5


def test_without_routes_all_gateways_carry_all_messages_in_order():
    table = changed("gateways.backup", {"kind": "sandbox"})
    assert settings_from(table).routing.gateways_for("GB", "login", "sms") == ("sandbox", "backup")


def test_the_first_route_that_matches_decides():
    table = changed("gateways.backup", {"kind": "sandbox"})
    table["routes"] = [{"gateways": ["backup"], "countries": ["PK"]}, {"gateways": ["sandbox"]}]
    routes = settings_from(table).routing
    assert routes.gateways_for("PK", "login", "sms") == ("backup",)
    assert routes.gateways_for("GB", "login", "sms") == ("sandbox",)


def test_a_gateway_carries_what_its_settings_say_and_is_shown_as_it_is_written():
    written = {"kind": "http", "url": "https://sms.example/", "channels": ["voice"], "json": {"text": "{text}"}}
    settings = settings_from(changed("gateways", {"backup": written}))
    assert settings.routing.gateways_for("PK", "login", "voice") == ("backup",)
    assert settings.routing.gateways_for("PK", "login", "sms") == ()
    assert settings.redacted()["gateways"]["backup"].items() >= written.items()


def paths(table, prefix=""):
    """Yield the path of every member of a table, nested ones too."""
    for name, value in table.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from paths(value, f"{prefix}{name}.")


ODD = [
    None,
    True,
    -1,
    1e400,
    "",
    "\x00",
    "\ud800",
    "x" * 10_000,
    [],
    [[]],
    [{}],
    {},
    {"": ""},
    {1: 2},
    {"a": {"b": []}},
]


def understood(table):
    """Tell whether settings are accepted; any error but the foreseen one is raised."""
    try:
        return bool(settings_from(table).redacted())
    except ConfigurationError:
        return False


@pytest.mark.parametrize("path", list(paths(settings_from(tree(URL)).redacted())))
def test_whatever_stands_in_a_member_it_is_understood_or_refused(path):
    assert not all(understood(changed(path, value)) for value in ODD)


@pytest.mark.parametrize(
    ("url", "public", "production", "faulty"),
    [
        ("https://shop.example/b", "https://otp.example", True, False),
        ("http://localhost:3000/b", "http://localhost:8080", False, False),
        ("http://localhost:3000/b", "https://otp.example", True, True),
        ("https://shop.example/b", "http://otp.example", True, True),
    ],
)  # fmt: skip
def test_pages_and_the_ways_back_from_them_are_https_in_production(url, public, production, faulty):
    section = ApplicationSection(purposes=("login",), countries=("PK",), page_return_urls=(url,))
    settings = settings_from(tree("redis://localhost", http={"public_url": public}))
    there = settings.model_copy(update={"environment": "production" if production else "development"})

    assert bool([*unmet_needs(there, section)]) is faulty


def test_contrast_is_that_of_wcag():
    known = {"ffffff": 1.0, "000000": 21.0, "767676": 4.54, "777777": 4.48, "ff0000": 4.0, "0000ff": 8.59}

    assert {color: round(contrast_with_white(color), 2) for color in known} == known


@pytest.mark.parametrize("redis", [{"url": "unix:///run/redis.sock"}, {"sentinels": ["h"]}, {"sentinels": ["u@h:1"]}])
def test_sentinels_have_addresses_and_watch_no_socket(redis):
    with pytest.raises(ConfigurationError, match="redis"):
        settings_from({**tree("redis://otp/0"), "redis": {"url": "redis://otp/0", "sentinels": ["h:26379"], **redis}})
