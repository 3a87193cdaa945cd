"""Where the ledger is, and how long it keeps what it records."""

import pytest
from sqlalchemy.engine import make_url
from support_installation import tree

from otp_service.domain.audit import RetentionDays
from otp_service.errors import ConfigurationError
from otp_service.ledger.database import Database
from otp_service.settings import load_settings, settings_from
from otp_service.settings.schema import RetentionSettings

REDIS = "redis://localhost:6379/0"
PASSWORD = "hunter2-of-sql"
GOOD = [
    ("sqlite:////var/lib/otp-service/ledger.db", "sqlite:////var/lib/otp-service/ledger.db"),
    ("sqlite:///ledger.db", "sqlite:///ledger.db"),
    ("sqlite:////a folder/ledger%20.db", "sqlite:////a folder/ledger%20.db"),
    (f"postgresql://otp:{PASSWORD}@db.internal/otp", "postgresql://db.internal/otp"),
    (
        f"postgresql://otp:{PASSWORD}@[::1]:5433/otp?sslmode=verify-full&sslrootcert=/ca.pem",
        "postgresql://[::1]:5433/otp",
    ),
    (f"postgresql://otp:{PASSWORD}%2F%40@db/otp", "postgresql://db/otp"),
    ("postgresql:///otp?host=/run/postgresql", "postgresql:///otp"),
]
SCHEME = "is neither sqlite:///PATH nor an address that starts with postgresql://."
SPELLING = "is spelled as for another library: start it with postgresql://."
NO_FILE = "names no file: sqlite:///PATH has three slashes and a path, without ? and #."
NO_DATABASE = (
    "is not postgresql://USER:PASSWORD@HOST:PORT/NAME; in a user or password, write / ? # and @ as %2F %3F %23 and %40."
)
NO_PARAMETER = "has a parameter that is not allowed; there may be: host, sslmode, sslrootcert, sslcert, sslkey."
BAD = [
    ("mysql://db/otp", SCHEME),
    ("postgresql+asyncpg://db/otp", SPELLING),
    (f"postgres://otp:{PASSWORD}@db/otp", SPELLING),
    (f"POSTGRES://otp:{PASSWORD}@db/otp", SPELLING),
    ("/var/lib/ledger.db", SCHEME),
    (f"postgresql://otp:{PASSWORD}/x@db/otp", SCHEME),
    ("sqlite://", NO_FILE),
    ("sqlite:///", NO_FILE),
    ("sqlite:///:memory:", NO_FILE),
    ("sqlite://host/ledger.db", NO_FILE),
    ("sqlite:///ledger.db?mode=memory", NO_FILE),
    ("sqlite:///ledger.db#x", NO_FILE),
    (f"postgresql://otp:{PASSWORD}@db", NO_DATABASE),
    (f"postgresql://otp:{PASSWORD}@db/", NO_DATABASE),
    (f"postgresql://otp:{PASSWORD}@x@db/otp", NO_DATABASE),
    ("postgresql://db/otp/x", NO_DATABASE),
    ("postgresql://localhost:5432/otp?sslrootcert=x@db.example/otp", NO_DATABASE),
    ("postgresql://db/otp#x", NO_DATABASE),
    ("postgresql://db/otp?options=-c%20statement_timeout=0", NO_PARAMETER),
    ("postgresql://db/otp?connect_timeout=600", NO_PARAMETER),
    ("postgresql://db/otp?sslmode=of", NO_PARAMETER),
    ("postgresql://db/otp?host=elsewhere", NO_PARAMETER),
    ("postgresql://db/otp?sslmode", NO_PARAMETER),
]


def settings_with(**ledger):
    return settings_from(tree(REDIS, ledger=ledger))


@pytest.mark.parametrize(("url", "shown"), GOOD)
def test_an_address_is_shown_without_what_is_secret(url, shown):
    settings = settings_with(url=url)

    assert settings.ledger.shown_url == shown
    assert settings.redacted()["ledger"]["url"] == shown
    assert PASSWORD not in f"{settings!r} {settings.redacted()}"


@pytest.mark.parametrize(("url", "shown"), GOOD)
def test_what_is_let_through_can_be_opened_and_means_the_same_there(url, shown):
    database, meant = Database(url, 1.0), make_url(url)

    assert database.kind == shown.partition(":")[0]
    assert database.engine.url.database == meant.database
    assert database.engine.url.host == meant.host
    assert meant.password in {None, PASSWORD, f"{PASSWORD}/@"}


@pytest.mark.parametrize(("url", "why"), BAD)
def test_another_address_is_refused_without_being_shown(url, why):
    with pytest.raises(ConfigurationError) as refused:
        settings_with(url=url)

    assert str(refused.value) == f"ledger.url: {why}"


def test_the_address_may_be_in_a_file_of_its_own(tmp_path):
    secret = tmp_path / "ledger_url"
    secret.write_text(f"postgresql://otp:{PASSWORD}@db/otp\n")
    settings = load_settings(environ={"OTP_SERVICE__LEDGER__URL_FILE": str(secret)}, to_start=False)

    assert settings.ledger.url.get_secret_value() == f"postgresql://otp:{PASSWORD}@db/otp"


@pytest.mark.parametrize("seconds", [0, -1, 61, "nan"])
def test_time_is_bounded(seconds):
    with pytest.raises(ConfigurationError, match=r"^ledger\.timeout: "):
        settings_with(timeout=seconds)


def test_days_become_what_a_purge_works_with():
    settings = settings_from(tree(REDIS, retention={"traffic": 30, "accountability": 200}))

    assert settings.retention.days == RetentionDays(
        traffic=30,
        stats=1095,
        consents=1095,
        suppressions=1095,
        inbound=90,
        webhooks=30,
        factors=400,
        access=400,
        accountability=200,
        audit=3650,
    )
    assert settings.retention.days.cutoff("traffic", 30 * 24 * 3600 * 1000 + 5) == 5


@pytest.mark.parametrize(
    ("data", "days"),
    [("traffic", 0), ("consents", 89), ("suppressions", 89), ("accountability", 89), ("inbound", 6), ("access", 7301)],
)
def test_days_are_bounded(data, days):
    """A withdrawal outlives every stream: a consent that comes late must find it."""
    with pytest.raises(ConfigurationError, match=rf"^retention\.{data}: "):
        settings_from(tree(REDIS, retention={data: days}))


def test_every_class_says_why_it_is_kept_so_long():
    assert all(field.description for field in RetentionSettings.model_fields.values())
