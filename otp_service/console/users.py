"""Users of the console: who they are, and what each may see."""

from typing import Final

from otp_service.console.visits import Answer, Views, Visit
from otp_service.domain.console_users import NAME_RULE, Permission, Role, is_user_name
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
    if not set(applications) <= visit.context.applications.keys():
        return _page(visit, _BAD, "There is no application of this name.")
    try:
        invitation = console_users.invite(visit.context, name, Role(role), applications, visit.operator)
    except NameTakenError:
        return _page(visit, _BAD, "There is a user of this name.")
    return _page(visit, invitation=invitation, invited=name)


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
