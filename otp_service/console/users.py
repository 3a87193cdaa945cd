"""Users of the console: who they are, and what each may see."""

from collections.abc import Collection
from typing import Final

from otp_service.console.visits import Answer, Views, Visit
from otp_service.domain.console_users import NAME_RULE, NEVER_LIMITED, Permission, Role, is_user_name, may_be_limited
from otp_service.errors import NameTakenError, NotFoundError
from otp_service.services import console_users

views = Views()
_BAD: Final = 422


@views.view("GET /users", Permission.USERS, title="Users")
def show_users(visit: Visit) -> Answer:
    """List all users."""
    return _page(visit)


def _page(visit: Visit, status: int = 200, fault: str = "", invitation: str = "", invited: str = "") -> Answer:
    listed = visit.context.ledger.console_users.all()
    return visit.page(
        "users.html", status, listed=listed, roles=list(Role), fault=fault, invitation=invitation, invited=invited
    )


@views.view("POST /users", Permission.USERS, confirmed=True)
def invite(visit: Visit) -> Answer:
    """Invite somebody; the address that he needs is shown once."""
    name, role = visit.field("name"), visit.field("role")
    applications = tuple(visit.field("applications").split())
    if not is_user_name(name) or role not in set(Role):
        return _page(visit, _BAD, NAME_RULE)
    if fault := _fault_of(visit, Role(role), applications):
        return _page(visit, _BAD, fault)
    try:
        invitation = console_users.invite(visit.context, name, Role(role), applications, visit.operator)
    except NameTakenError:
        return _page(visit, _BAD, "There is a user of this name.")
    return _page(visit, invitation=invitation, invited=name)


def _fault_of(visit: Visit, role: Role, applications: Collection[str]) -> str:
    """Return why a user may not be limited so, empty if he may."""
    if not set(applications) <= visit.context.applications.keys():
        return "There is no application of this name."
    return NEVER_LIMITED if applications and not may_be_limited(role) else ""


@views.view("POST /users/<name>/invite", Permission.USERS, confirmed=True)
def invite_again(visit: Visit, name: str) -> Answer:
    """Let a user set password and app anew."""
    invitation = console_users.invite_again(visit.context, name, visit.operator)
    return _page(visit, invitation=invitation, invited=name)


@views.view("POST /users/<name>/change", Permission.USERS, confirmed=True)
def change(visit: Visit, name: str) -> Answer:
    """Give a user another role; nobody changes his own."""
    role = visit.field("role")
    if role not in set(Role) or name == visit.signed_in.name:
        return _page(visit, _BAD, "Nobody changes his own role.")
    applications = tuple(visit.field("applications").split())
    if fault := _fault_of(visit, Role(role), applications):
        return _page(visit, _BAD, fault)
    if not visit.context.ledger.console_users.change(name, Role(role), applications, visit.operator):
        raise NotFoundError("There is no such user.")
    return visit.to("/users")


@views.view("POST /users/<name>/disable", Permission.USERS, confirmed=True)
def disable(visit: Visit, name: str) -> Answer:
    """Let a user not sign in any more; nobody disables himself."""
    if name == visit.signed_in.name:
        return _page(visit, _BAD, "Nobody disables himself.")
    if not visit.context.ledger.console_users.disable(name, visit.operator):
        raise NotFoundError("There is no such user.")
    return visit.to("/users")
