"""A login with Django, settings and views in one file. Start it with `python django_login.py runserver`."""

import os
import sys

import django
from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.http import require_POST
from otp_service_client import OtpError, OtpService

settings.configure(
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ["SECRET_KEY"],
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],  # add CSRF with your forms
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
)
django.setup()
otp = OtpService(os.environ["OTP_URL"], os.environ["OTP_KEY"])


@require_POST  # type: ignore[untyped-decorator]
def start(request: HttpRequest) -> JsonResponse:
    """Send a code, and keep its id and its number together in the session: take neither from the browser."""
    try:
        started = otp.verifications.start(request.POST["phone"], client_ip=request.META["REMOTE_ADDR"])
    except OtpError as error:
        return _say(error)
    request.session["started"] = {"id": started.id, "number": started.destination}
    return JsonResponse({"sent_to": started.to})


@require_POST  # type: ignore[untyped-decorator]
def check(request: HttpRequest) -> JsonResponse:
    """Log in the number that the code went to, never one of this form: it may be another person's."""
    started = request.session.get("started")
    if started is None:
        return JsonResponse({"say": "Please give your number first."}, status=400)
    try:
        checked = otp.verifications.check(started["id"], request.POST["code"])
    except OtpError as error:
        return _say(error)
    if not checked.valid:
        return JsonResponse({"reason": checked.reason, "checks_left": checked.checks_left}, status=403)
    request.session["account"] = request.session.pop("started")["number"]
    return JsonResponse({"welcome": request.session["account"]})


def _say(error: OtpError) -> JsonResponse:
    """Tell the person what to do; `docs/integration.md` has the sentences for each code."""
    code = getattr(error, "code", "unreachable")
    return JsonResponse({"say": "We cannot send codes at the moment.", "code": code}, status=503)


urlpatterns = [path("start", start), path("check", check)]
application = get_wsgi_application()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
