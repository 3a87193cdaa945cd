"""What a reload leaves as it is, and what it tells of that."""

import pytest
from support_installation import tree

from otp_service.settings import settings_from
from otp_service.settings.loader import SERVER_URLS, keep_fixed

REDIS = "redis://user:old@db.internal:6379/0"
LEDGER = "postgresql://otp:old@db.internal/otp?sslmode=require"


def settings(redis=REDIS, ledger=LEDGER, **sections):
    return settings_from(tree(redis, ledger={"url": ledger}, **sections))


def test_what_may_change_changes():
    present, fresh = settings(http={"threads": 2}), settings(http={"threads": 4}, worker={"concurrency": 3})
    assert keep_fixed(present, fresh, ("http.port", *SERVER_URLS)) == (fresh, ())


def test_what_must_not_change_stays_as_it_is_and_is_named():
    present, fresh = settings(), settings(http={"port": 1, "processes": 7, "threads": 4})
    found, changed = keep_fixed(present, fresh, ("http.host", "http.port", "http.processes"))
    assert changed == ("http.port", "http.processes")
    assert (found.http.port, found.http.processes, found.http.threads) == (8080, 2, 4)


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("redis", "redis://user:new@db.internal:6379/0"),
        ("redis", "redis://another@db.internal:6379/0"),
        ("ledger", "postgresql://other:new@db.internal/otp?sslmode=verify-full"),
    ],
)
def test_another_user_or_password_at_the_same_place_may_come(name, url):
    fresh = settings(**{name: url})
    found, changed = keep_fixed(settings(), fresh, SERVER_URLS)
    assert changed == ()
    assert getattr(found, name).url.get_secret_value() == url


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("redis", REDIS, "redis://user:old@db.internal:6379/1"),
        ("redis", REDIS, "redis://user:old@db.internal:6380/0"),
        ("redis", "unix:///run/redis.sock?db=0", "unix:///run/redis.sock?db=1"),
        ("ledger", LEDGER, "postgresql://otp:old@other.internal/otp?sslmode=require"),
        ("ledger", "postgresql://otp@/otp?host=/run/one", "postgresql://otp@/otp?host=/run/two"),
        ("ledger", "sqlite:////var/one.db", "sqlite:////var/two.db"),
    ],
)
def test_another_place_needs_a_restart(name, before, after):
    found, changed = keep_fixed(settings(**{name: before}), settings(**{name: after}), SERVER_URLS)
    assert changed == (f"{name}.url",)
    assert getattr(found, name).url.get_secret_value() == before
