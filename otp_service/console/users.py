"""Administration of the console's users."""

from otp_service.console import authentication
from otp_service.console.accounts import NAME_RULE, NEVER_LIMITED, Permission, Role, is_user_name, may_be_limited
from otp_service.console.records import ConsoleUsers
from otp_service.console.requests import NO_APPLICATION, Answer, ConsoleRequest, FormError, Views, as_form_error
from otp_service.errors import NameTakenError, NotFoundError

views = Views()


@views.view("GET /users", Permission.USERS, title="Users")
def show_users(visit: ConsoleRequest, invitation: str = "", invited: str = "") -> Answer:
    listed = ConsoleUsers(visit.context.ledger.database).all()
    return visit.page("users.html", listed=listed, roles=list(Role), invitation=invitation, invited=invited)


@views.view("POST /users", Permission.USERS, confirmed=True)
def invite(visit: ConsoleRequest) -> Answer:
    name, role = visit.field("name"), visit.typed_role()
    applications = _typed_applications(visit, role)
    if not is_user_name(name):
        raise FormError(NAME_RULE)
    with as_form_error(NameTakenError, "There is a user of this name."):
        invitation = authentication.invite(visit.context, name, role, applications, visit.operator)
    return show_users(visit, invitation, name)


def _typed_applications(visit: ConsoleRequest, role: Role) -> tuple[str, ...]:
    """Return the applications that a user of a role is to see, none for all."""
    names = tuple(visit.field("applications").split())
    if not set(names) <= visit.context.applications.keys():
        raise FormError(NO_APPLICATION)
    if names and not may_be_limited(role):
        raise FormError(NEVER_LIMITED)
    return names


@views.view("POST /users/<name>/invite", Permission.USERS, confirmed=True)
def invite_again(visit: ConsoleRequest, name: str) -> Answer:
    invitation = authentication.invite_again(visit.context, name, visit.operator)
    return show_users(visit, invitation, name)


@views.view("POST /users/<name>/change", Permission.USERS, confirmed=True)
def change(visit: ConsoleRequest, name: str) -> Answer:
    role = visit.typed_role()
    applications = _typed_applications(visit, role)
    if name == visit.signed_in.name:
        raise FormError("You cannot change your own role.")
    if not ConsoleUsers(visit.context.ledger.database).change(name, role, applications, visit.operator):
        raise NotFoundError("There is no such user.")
    return visit.to("/users")


@views.view("POST /users/<name>/disable", Permission.USERS, confirmed=True)
def disable(visit: ConsoleRequest, name: str) -> Answer:
    if name == visit.signed_in.name:
        raise FormError("You cannot disable your own account.")
    if not ConsoleUsers(visit.context.ledger.database).disable(name, visit.operator):
        raise NotFoundError("There is no such user.")
    return visit.to("/users")
