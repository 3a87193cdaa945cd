"""How users of the console may be called."""

import pytest

from otp_service.console.accounts import is_user_name


@pytest.mark.parametrize("name", ["a", "ayesha", "ayesha.khan-2", "a" * 24])
def test_a_plain_name_may_be_given(name):
    assert is_user_name(name)


@pytest.mark.parametrize(
    "name", ["", "Ayesha", "a" * 25, "ali with sara", "ali\n", "2ali", "<b>", "console:ali", "علی"]
)
def test_a_name_that_may_be_taken_for_another_or_for_two_may_not(name):
    assert not is_user_name(name)


def test_two_names_fit_where_an_act_of_both_is_recorded():
    assert len(f"console:{'a' * 24} with {'b' * 24}") <= 64
