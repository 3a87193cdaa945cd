"""Messages in people's own words wait for five days, and then are gone."""

import pytest
from support_frozen import FrozenValkey
from support_installation import NUMBER

from otp_service.domain.numbers import parse_destination, subject_key
from otp_service.store import inbox as inbox_module
from otp_service.store.inbox import INBOX_SECONDS


def test_a_message_waits_for_five_days(frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "MAX_WAITING", 2)
    context = frozen.world().install().context
    number, inbox = subject_key(context.keyring, parse_destination(NUMBER, None)), context.store.inbox
    assert INBOX_SECONDS == 5 * 86_400
    assert inbox.put(number, "shop", "sandbox", "first")
    frozen.advance(INBOX_SECONDS - 1)
    assert inbox.put(number, "shop", "sandbox", "second")
    first, second = inbox.waiting()
    assert not inbox.put(number, "shop", "sandbox", "a third one has no place")
    frozen.advance(1.001)

    assert inbox.waiting() == (second,)
    assert inbox.put(number, "shop", "sandbox", "a third one has")
    assert inbox.find(first.id) is None
