"""Messages that an application's slot counts ahead of their coming, where many come that are alike."""

from collections import Counter
from functools import partial
from typing import Any

import pytest
from support_caller import Caller
from support_guard import ROOMY, guarded, later, modes, number, passes
from support_frozen import FrozenValkey

from otp_service import bootstrap
from otp_service.store import keys, reserving
from otp_service.store.scripts import ScriptRunner
from otp_service.store.store import open_store


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count calls of an application's slot, by script; it is elsewhere, and each second is at hand."""
    counted, run = Counter[str](), ScriptRunner.run

    def counting(self: ScriptRunner, name: str, of: tuple[str, ...], *given: Any) -> Any:
        counted[name] += of[:1] == (keys.application("shop"),)
        return run(self, name, of, *given)

    monkeypatch.setattr(ScriptRunner, "run", counting)
    monkeypatch.setattr(bootstrap, "open_store", partial(open_store, shared_elsewhere=True))
    return counted
