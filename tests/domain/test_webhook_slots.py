"""How a worker shares its calls between applications: no slow one, nor all of them, holds all of its slots."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp_service.domain.webhooks import SLOW_CALL, Endpoint, Pace, WebhookCall, WebhookSlots


def endpoint(application, name, *, slow=False):
    latency = SLOW_CALL if slow else None
    return Endpoint(name, application, "https://shop.example/h", ("verification",), "sealed", 0, latency=latency)


@pytest.mark.parametrize(
    ("total", "quick", "unknown", "slow"), [(4, 2, 2, 1), (5, 3, 2, 1), (16, 8, 6, 4), (32, 16, 12, 8)]
)
def test_one_application_has_half_of_what_its_endpoints_may_have(total, quick, unknown, slow):
    names = [f"we_{one}" for one in range(10)]
    wanted = {endpoint("shop", name): 64 for name in names}
    wanted_slow = {endpoint("shop", name, slow=True): 64 for name in names}

    assert sum(WebhookSlots(total, quick=names).share_out(wanted).values()) == quick
    assert sum(WebhookSlots(total).share_out(wanted).values()) == unknown
    assert sum(WebhookSlots(total).share_out(wanted_slow).values()) == slow


@pytest.mark.parametrize("applications", [1, 2, 5, 8, 15])
def test_several_applications_leave_an_equal_share(applications):
    wanted = {endpoint(f"shop{one}", f"we_{one}"): 64 for one in range(applications)}
    shares = WebhookSlots(32, quick=[one.id for one in wanted]).share_out(wanted)

    assert max(shares.values()) - min(shares.values()) <= 1
    assert 32 - sum(shares.values()) >= max(32 // (applications + 1) - 1, 1)


def test_however_many_are_slow_or_unknown_a_quarter_is_left_to_quick_ones():
    slots = WebhookSlots(32, quick=[f"qu_{one}" for one in range(100)])
    shares = [
        slots.share_out({endpoint(f"{kind}{one}", f"{kind}_{one}", slow=kind == "sl"): 4 for one in range(100)})
        for kind in ("sl", "un", "qu")
    ]

    assert [sum(one.values()) for one in shares] == [16, 8, 8]
    assert slots.is_full


def test_calls_that_became_slow_on_their_way_give_their_slots_back_to_quick_ones():
    calls = [WebhookCall(f"shop{one}", f"we_{one}", Pace.SLOW) for one in range(40)]
    slots = WebhookSlots(32, calls, ["qu_1", "qu_2"])

    assert slots.share_out({endpoint("shop", "we_1"): 1, endpoint("other", "we_2"): 1}) == {}
    assert slots.share_out({endpoint("bank", "qu_1"): 4, endpoint("bank", "qu_2"): 20}) == {"qu_1": 4, "qu_2": 4}


def test_who_has_the_fewest_calls_comes_first():
    slots = WebhookSlots(
        4, [WebhookCall("shop", name, Pace.QUICK) for name in ("we_1", "we_2", "we_3")], ["we_3", "we_4"]
    )

    assert slots.share_out({endpoint("shop", "we_3"): 1, endpoint("bank", "we_4"): 1}) == {"we_4": 1}


_names = st.tuples(st.sampled_from("abcdef"), st.integers(0, 9))


@given(
    st.integers(4, 64),
    st.lists(st.tuples(_names, st.sampled_from(Pace)), max_size=60),
    st.dictionaries(_names, st.tuples(st.booleans(), st.booleans(), st.integers(-2, 70))),
)
def test_shares_keep_within_what_is_wanted_and_free(total, calls, wants):
    in_flight = [WebhookCall(name[0], f"we_{name}", pace) for name, pace in calls]
    wanted = {endpoint(name[0], f"we_{name}", slow=slow): most for name, (slow, _, most) in wants.items()}
    slots = WebhookSlots(total, in_flight, {f"we_{name}" for name, (_, quick, _) in wants.items() if quick})
    before = Counter(one.pace for one in in_flight)
    shares = slots.share_out(wanted)

    begun = Counter(slots.pace_of(one) for one in wanted for _ in range(shares[one.id]))
    now = before + begun
    held = Counter(one.application for one in in_flight)
    held.update(one.application for one in wanted for _ in range(shares[one.id]))
    not_quick = min(now[Pace.SLOW], total // 2) + now[Pace.UNKNOWN]
    assert all(shares[one.id] <= max(most, 0) for one, most in wanted.items())
    assert not begun[Pace.SLOW] or now[Pace.SLOW] <= total // 2
    assert not begun[Pace.SLOW] + begun[Pace.UNKNOWN] or not_quick <= total * 3 // 4
    assert not begun or not_quick + now[Pace.QUICK] <= total
    assert all(held[one.application] <= (total + 1) // 2 for one in wanted if shares[one.id])


def test_an_endpoint_is_slow_from_a_second_on():
    one, slow = endpoint("shop", "we_1"), endpoint("shop", "we_1", slow=True)

    assert one.latency_after(SLOW_CALL - 1) is None
    assert one.latency_after(SLOW_CALL) == SLOW_CALL
    assert [one.calls_at_once(4), slow.calls_at_once(4), slow.calls_at_once(1)] == [4, 2, 1]
