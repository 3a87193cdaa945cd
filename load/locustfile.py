"""The scenarios, for locust: ``locust -f load/locustfile.py``. Where everything is comes from the environment."""

from abuse import Abuse
from login import Login
from payment import Payment

__all__ = ["Abuse", "Login", "Payment"]
