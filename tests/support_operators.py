"""Operators' view of the service over HTTP, and callers with keys that operators made."""

import copy
from typing import Any

from support_api import Api
from support_installation import World

from otp_service.services.access import issue_operator_key

APPLICATIONS = "/v1/admin/applications"
CLUB = {"name": "Acme Club", "purposes": ["login"], "countries": ["PK"], "region": "PK", "client_ip": "none"}
"""Settings of an application."""


class Operators(Api):
    """Calls with a key for operators, on a ledger of their own."""

    def __init__(self, world: World, url: str, **sections: Any) -> None:
        super().__init__(world, ledger={"url": url}, **sections)
        self.key = issue_operator_key(self.installation.context, (), "tests").secret

    def close(self) -> None:
        """Close the ledger."""
        self.installation.context.ledger.database.close()

    def add(self, name: str = "club", **members: Any) -> None:
        """Make an application."""
        answer = self.post(APPLICATIONS, {"name": name, "settings": {**CLUB, **members}})
        assert answer.status_code == 201, answer.text

    def issue(self, application: str = "shop", *scopes: str, addresses: tuple[str, ...] = ()) -> dict[str, Any]:
        """Make a key; return the answer: ``secret`` and ``key``."""
        body = {"scopes": list(scopes or ("verify",)), "addresses": list(addresses)}
        answer = self.post(f"{APPLICATIONS}/{application}/keys", body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json)

    def with_key(self, secret: str) -> Api:
        """Return a caller of the same service with another key."""
        other = copy.copy(self)
        other.key = secret
        return other

    def keys_of(self, application: str) -> list[dict[str, Any]]:
        return list(self.get(f"{APPLICATIONS}/{application}/keys").json)

    def end(self, issued: dict[str, Any], verb: str, body: object = None, application: str = "") -> Any:
        """Rotate or revoke a key."""
        key = issued["key"]
        return self.post(f"{APPLICATIONS}/{application or key['application']}/keys/{key['id']}/{verb}", body)
