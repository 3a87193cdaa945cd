"""The tests that a gateway of your own has to pass; imports pytest, so nothing in production imports this."""

import pytest

pytest.register_assert_rewrite("otp_service.testing.provider", "otp_service.testing.suite")
