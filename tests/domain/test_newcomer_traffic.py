"""What is usual is learnt, and what is not is told early, with a bounded rate of false alarms."""

import math
import random
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otp_service.domain import detection
from otp_service.domain.detection import LARGEST_STEP, REMAINING, Alarm, ChangeTest, DailyTest, Finding, Run, Slot
from otp_service.domain.newcomer_traffic import (
    GROWTH,
    HOURS,
    LASTING,
    MINUTE,
    WIDENED,
    Cause,
    CountryTraffic,
    NumberGroup,
    Outcomes,
    PlaceTraffic,
    UsualTraffic,
    bounded_capacity,
    pack_place,
    unpack_place,
)

MIDNIGHT = 29_923_200 // 1440 * 1440
"""In November 2026, in minutes since the epoch."""
DAY, WEEK = 1440, 10_080
PRICE = 2_500_000
RANGES = ("92300", "92301", "92302", "92303")


def slot(minute=MIDNIGHT, attempts=10, approvals=6):
    return Slot(minute, attempts, attempts, approvals, attempts * PRICE)


class Site:
    """Newcomers of a country, and an attack beside them, event by event."""

    def __init__(self, seed=1, rate=2.0, share=0.6):
        self.chance, self.rate, self.share = random.Random(seed), rate, share
        self.country, self.minute, self.notices = CountryTraffic(), MIDNIGHT, []
        self.attacked = 0

    def play(self, minutes, attack=0.0, within=RANGES, verifies=0.0, asks=False, known=0.0, delivered=1.0):
        """Play so many minutes; return what was told in them."""
        before = len(self.notices)
        for _ in range(minutes):
            self.notices += self.country.advance(self.minute * MINUTE)
            for _ in range(self._count(self.rate)):
                self._come(self.chance.choice(RANGES), self.share * delivered, asks=asks, solves=True)
            for _ in range(self._count(attack)):
                self.attacked += self._come(self.chance.choice(within), verifies, asks=asks, solves=False)
            for _ in range(self._count(known)):
                self.country.known_start(self.minute * MINUTE, PRICE)
                if self.chance.random() < self.share * delivered:
                    self.country.known_approve(self.minute * MINUTE)
            self.minute += 1
        return [(one.finding, one.number_prefix) for one in self.notices[before:]]

    def _count(self, mean_count):
        whole = int(mean_count)
        return whole + (self.chance.random() < mean_count - whole)

    def _come(self, number_prefix, share, *, asks, solves):
        at, approves = self.minute * MINUTE, self.chance.random() < share
        if asks and self.country.suspicion(number_prefix).ask:
            self.notices += self.country.require_check(at, number_prefix)
            if not solves:
                return False
            self.country.passed_check(at, number_prefix, PRICE)
            if approves:
                self.country.approve(at, number_prefix, checked=True)
            return True
        self.notices += self.country.start(at, number_prefix, PRICE)
        if approves:
            self.country.approve(at, number_prefix)
        return True

    @property
    def usual(self):
        return self.country.whole.usual


@pytest.fixture(scope="module")
def learnt():
    """Return rows of a site that has been learnt for a week, of two newcomers a minute."""
    site = Site()
    assert site.play(WEEK, known=4.0) == []
    return site.minute, pack_place(site.country.whole), {
        name: pack_place(one) for name, one in site.country.ranges.items()
    }  # fmt: skip


def site_of(learnt, seed=2, **how):
    site = Site(seed, **how)
    site.minute, whole, ranges = learnt
    site.country = CountryTraffic(unpack_place(whole), {name: unpack_place(one) for name, one in ranges.items()})
    return site


# --- the test of Page ------------------------------------------------------------------------------------------------


def slots_until_alarm(seed, share, most=4000):
    chance, test = random.Random(seed), ChangeTest()
    for passed in range(1, most + 1):
        approvals = sum(chance.random() < share for _ in range(5))
        if test.add(slot(attempts=5, approvals=approvals), 0.6, 0.6):
            return passed
    return most


def test_false_alarms_are_as_rare_as_stated_at_the_lowest_share_that_is_usual(monkeypatch):
    monkeypatch.setattr(detection, "THRESHOLD", math.log(100) + math.log(len(REMAINING)))

    assert mean(slots_until_alarm(seed, 0.6) for seed in range(100)) >= 100


def test_a_test_of_a_lower_threshold_would_not_keep_that_rate(monkeypatch):
    monkeypatch.setattr(detection, "THRESHOLD", math.log(10))

    assert mean(slots_until_alarm(seed, 0.6) for seed in range(100)) < 100


@settings(deadline=None)
@given(st.lists(st.floats(0.6, 1.0), min_size=1, max_size=4), st.integers(1, 4))
def test_no_slot_adds_likelihood_in_the_mean_while_the_share_is_not_below_the_floor(shares, attempts):
    for share in shares:
        for place in range(len(REMAINING)):
            likelihood = 0.0
            for approvals in range(attempts + 1):
                test = ChangeTest([Run(evidence=50.0) for _ in REMAINING])
                test.add(slot(attempts=attempts, approvals=approvals), 0.6, 0.6)
                weight = math.comb(attempts, approvals) * share**approvals * (1 - share) ** (attempts - approvals)
                likelihood += weight * math.exp(test.runs[place].evidence - 50.0)
            assert likelihood <= 1 + 1e-9


def test_evidence_is_never_below_nothing_and_starts_anew_there():
    run = Run()
    run.add(slot(MIDNIGHT), 2.0, 0.6)
    run.add(slot(MIDNIGHT + 1), -3.0, 0.6)
    assert (run.evidence, run.messages) == (0.0, 0)
    run.add(slot(MIDNIGHT + 2), 1.0, 0.6)

    assert (run.evidence, run.messages, run.approvals) == (1.0, 10, 6)


def test_one_odd_minute_is_no_alarm():
    test = ChangeTest()

    assert not test.add(slot(attempts=5000, approvals=0), 0.6, 0.6)
    assert test.evidence == LARGEST_STEP


def test_an_alarm_remembers_what_the_attack_was_like_while_it_judges_its_end():
    alarm, slots = Alarm.of(Run(20.0, 1000, 480, 200.0), MIDNIGHT, 0.6), 1
    while not alarm.add(slot(attempts=10, approvals=6), 0.6):
        slots += 1

    assert alarm.approved / alarm.expected == pytest.approx(0.8, abs=0.02)
    assert slots <= 45


# --- days ------------------------------------------------------------------------------------------------------------


def days_until_told(seed, fall, most=400):
    chance, test = random.Random(seed), DailyTest()
    for day in range(most):
        approved = round(1000 * (0.6 - fall + chance.gauss(0, 0.015)) + chance.gauss(0, math.sqrt(240)))
        told = test.add(slot(MIDNIGHT + DAY * day, 1000, approved), 0.6, 0.0, doubtful=False)
        if told:
            return told, day
    return None, most


def test_a_small_fall_of_whole_days_is_told_within_a_week_and_honest_days_hardly_ever():
    told = [days_until_told(seed, 0.05) for seed in range(20)]
    quiet = [days_until_told(seed, 0.0)[1] for seed in range(20)]

    assert {one for one, _ in told} == {Finding.SMALL_FALL}
    assert max(day for _, day in told) <= 7
    assert mean(quiet) >= 250


def test_a_small_fall_ends_when_days_are_usual_again_or_after_a_week():
    usual, lasting = DailyTest(), DailyTest()
    days = [*range(8)]
    for day in days:
        for test in (usual, lasting):
            test.add(slot(MIDNIGHT + DAY * day, 1000, 550 if day < 6 else 640), 0.6, 0.0, doubtful=False)
    told = [usual.add(slot(MIDNIGHT + DAY * (8 + day), 1000, 640), 0.6, 0.0, doubtful=False) for day in range(4)]
    stays = [lasting.add(slot(MIDNIGHT + DAY * (8 + day), 1000, 540), 0.6, 0.0, doubtful=False) for day in range(8)]

    assert Finding.USUAL_AGAIN in told
    assert Finding.REBASED in stays
    assert 0.85 < lasting.remaining < 1


def test_a_day_with_an_alarm_is_not_judged_again():
    test = DailyTest()
    for day in range(10):
        test.add(slot(MIDNIGHT + DAY * day, 1000, 100), 0.6, 0.0, doubtful=True)

    assert test.evidence == 0.0


# --- what is usual ---------------------------------------------------------------------------------------------------


def test_the_share_is_learnt_by_hour_and_shrunk_towards_what_is_known(learnt):
    site = site_of(learnt)
    hour = site.minute // 60

    assert site.usual.share(hour).share == pytest.approx(0.6, abs=0.05)
    assert site.usual.share(hour).overall == pytest.approx(0.6, abs=0.015)
    assert site.usual.starts(hour) == pytest.approx(120, rel=0.1)
    assert site.usual.approvals(hour) == pytest.approx(72, rel=0.2)
    assert site.usual.daily_approvals() == pytest.approx(2 * DAY * 0.6, rel=0.05)
    for one in site.country.ranges.values():
        assert one.usual.share(hour, site.usual.share(hour)).share == pytest.approx(0.6, abs=0.06)


def test_an_hour_of_its_own_share_is_known_after_some_weeks():
    usual = UsualTraffic()
    for hour in range(8 * HOURS):
        at_night = hour % 24 == 3
        usual.count(slot((1000 * HOURS + hour) * 60, 400, 160 if at_night else 240), None, doubtful=False)

    assert usual.share(3).share == pytest.approx(0.4, abs=0.03)
    assert usual.share(4).share == pytest.approx(0.6, abs=0.02)


def test_little_knowledge_makes_the_floor_lower():
    few, many = UsualTraffic(), UsualTraffic()
    for hour in range(1, 30):
        few.count(slot(hour * 60, 3, 2), None, doubtful=False)
        many.count(slot(hour * 60, 300, 200), None, doubtful=False)

    assert UsualTraffic().share(0).floor < few.share(0).floor < many.share(0).floor < many.share(0).share


def test_what_was_usual_fades_over_weeks():
    usual = UsualTraffic()
    for hour in range(4 * HOURS):
        usual.count(slot((1000 * HOURS + hour) * 60, 10, 6), None, doubtful=False)
    assert usual.starts(5) == pytest.approx(10)
    for hour in range(4 * HOURS, 16 * HOURS):
        usual.count(slot((1000 * HOURS + hour) * 60, 20, 6), None, doubtful=False)

    assert usual.starts(5) == pytest.approx(20, abs=1.5)
    assert usual.share(5).share == pytest.approx(0.3, abs=0.05)


def test_hours_without_anybody_are_learnt_as_such():
    usual = UsualTraffic()
    for hour in range(HOURS):
        usual.count(slot((1000 * HOURS + hour) * 60, 10, 6), None, doubtful=False)
    before = usual.starts(5)
    usual.count(slot((1000 * HOURS + 6 * HOURS) * 60, 10, 6), None, doubtful=False)

    assert usual.starts(5) < before / 2


def test_a_busy_hour_counts_as_twice_the_usual_at_most():
    usual = UsualTraffic()
    for hour in range(3 * HOURS):
        usual.count(slot((1000 * HOURS + hour) * 60, 100, 60), None, doubtful=False)
    for hour in range(3 * HOURS, 4 * HOURS + 1):
        usual.count(slot((1000 * HOURS + hour) * 60, 10_000, 6000), None, doubtful=False)

    assert usual.starts(5) < 250


# --- alarms ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("attack", "within_hours"), [(0.5, 14), (2, 1), (8, 0.4), (12, 0.3)])
def test_an_attack_over_the_whole_country_is_told(learnt, attack, within_hours):
    site = site_of(learnt)

    assert site.play(round(60 * within_hours), attack)[0] == (Finding.ALARM, "")


def test_an_alarm_tells_what_passed_beyond_the_usual(learnt):
    site = site_of(learnt)
    site.play(120, 8.0)
    alarm = site.country.whole.newcomers.alarm

    assert alarm.unusual == pytest.approx(site.attacked, rel=0.2)


@pytest.mark.parametrize("seed", range(3))
def test_honest_weeks_from_the_first_hour_on_are_no_alarm(seed):
    site = Site(seed, rate=1.0, share=(0.45, 0.6, 0.8)[seed])

    assert site.play(WEEK) == []


def test_five_times_the_honest_traffic_is_no_alarm(learnt):
    site = site_of(learnt, rate=10.0)

    assert site.play(600) == []


def test_an_attack_on_a_place_of_which_nothing_is_known_is_told():
    site = Site(rate=0.3)

    assert (Finding.ALARM, "") in site.play(240, 4.0)


def test_an_attack_is_not_learnt(learnt):
    site = site_of(learnt)
    share, starts = site.usual.share(site.minute // 60), site.usual.daily_approvals()
    site.play(DAY, 8.0)
    after = site.usual.share((site.minute - DAY) // 60)

    assert after.share == pytest.approx(share.share, abs=0.01)
    assert site.usual.daily_approvals() == pytest.approx(starts, rel=0.02)


def test_in_a_countrys_first_week_nobody_is_asked_though_it_opens_after_a_trial_in_which_all_approved():
    site = Site(share=1.0, rate=1.0)
    site.play(DAY)
    site.share, site.rate = 0.6, 4.0
    assert Finding.ALARM in {finding for finding, _ in site.play(5 * DAY, 0.5)}, "it is told"
    assert not any(site.country.suspicion(one).ask for one in ("", *RANGES))
    site.play(DAY + 60, 8.0)

    assert site.country.suspicion("92300").ask


def test_an_alarm_ends_when_traffic_is_usual_again(learnt):
    site = site_of(learnt)
    site.play(180, 8.0)
    assert site.country.suspicion("92300").ask

    assert site.play(120) == [(Finding.USUAL_AGAIN, "")]
    assert not site.country.suspicion("92300").ask
    assert site.play(180, 8.0)[0] == (Finding.ALARM, "")


def test_an_alarm_to_which_nobody_comes_ends_after_a_day(learnt):
    site = site_of(learnt)
    site.play(180, 8.0)
    site.rate = 0.0
    site.play(30)

    assert site.play(DAY - 60) == []
    assert site.play(60) == [(Finding.USUAL_AGAIN, "")]


def test_an_alarm_stands_as_long_as_the_attack(learnt):
    site = site_of(learnt)
    told = site.play(DAY, 8.0)

    assert told[0] == (Finding.ALARM, "")
    assert site.country.whole.newcomers.alarm
    assert len(told) <= 3


def test_asked_attempts_cost_nothing_and_keep_the_alarm_standing(learnt):
    site = site_of(learnt)
    site.play(60, 8.0, asks=True)
    passed = site.attacked
    site.play(300, 8.0, asks=True)

    assert site.country.whole.newcomers.alarm
    assert site.attacked - passed < 100
    assert site.country.whole.checked.alarm is None


def test_an_alarm_that_people_keep_who_do_not_come_back_from_their_check_ends_after_a_week(learnt):
    place = unpack_place(learnt[1])
    place.newcomers.raise_alarm(0.6)
    place.newcomers.alarm.raised = place.newcomers.newest - LASTING
    for minute in range(place.newcomers.newest, place.newcomers.newest + 30):
        place.newcomers.start(minute, 10, 7, 0)
        place.newcomers.approve(minute, 4)
        if (Finding.USUAL_AGAIN, NumberGroup.UNKNOWN_NUMBERS) in place.advance(minute):
            break

    assert place.newcomers.alarm is None
    assert place.usual.share(5).share == pytest.approx(unpack_place(learnt[1]).usual.share(5).share, abs=0.01)


def test_those_who_pass_checks_and_do_not_approve_get_the_trickle_too(learnt):
    site = site_of(learnt)
    whole = site.country.whole
    site.play(60, 8.0)
    for minute in range(60):
        for _ in range(8):
            at = (site.minute + minute) * MINUTE
            site.country.require_check(at, "92300")
            site.country.passed_check(at, "92300", PRICE)

    assert whole.checked.alarm
    assert site.country.suspicion("92300").checked_too


def test_a_lasting_honest_change_ends_its_alarm_and_becomes_usual(learnt):
    site = site_of(learnt, share=0.4)
    told = site.play(8 * DAY)

    assert told[0] == (Finding.ALARM, "")
    assert (Finding.REBASED, "") in told
    assert site.usual.share(site.minute // 60).share == pytest.approx(0.4, abs=0.06)
    assert site.play(DAY) == []


def test_an_attack_that_checks_hold_off_never_becomes_usual(learnt):
    site = site_of(learnt)
    told = site.play(8 * DAY, 3.0, asks=True)

    assert (Finding.REBASED, "") not in told
    assert site.usual.share(site.minute // 60).overall == pytest.approx(0.6, abs=0.02)


def test_an_attack_in_one_range_is_told_of_that_range_alone(learnt):
    site = site_of(learnt)
    told = site.play(180, 4.0, within=("92301",))

    assert told == [(Finding.ALARM, "92301")]
    assert site.country.suspicion("92301").ask
    assert site.country.suspicion("92302").level == 0


def test_what_is_not_ripe_of_a_range_that_is_told_does_not_tell_of_the_country_too(learnt):
    site = site_of(learnt, rate=0.3)

    assert site.play(60, 10.0, within=("92301",)) == [(Finding.ALARM, "92301")]


def test_a_gateway_that_delivers_badly_is_told_as_such_and_nobody_is_asked(learnt):
    site = site_of(learnt)
    site.play(300, known=4.0, delivered=0.5)

    assert (site.notices[0].finding, site.notices[0].cause) == (Finding.ALARM, Cause.DELIVERY)
    assert not site.country.suspicion("92300").ask
    assert site.country.suspicion("92300").level > 0.3


def test_an_attack_beside_known_people_who_approve_is_the_newcomers(learnt):
    site = site_of(learnt)
    site.play(120, 8.0, known=4.0)

    assert site.notices[0].cause is Cause.UNKNOWN_NUMBERS
    assert site.country.whole.known.alarm is None


def test_known_numbers_that_stop_approving_are_told(learnt):
    site = site_of(learnt, share=0.6)
    for minute in range(60):
        site.country.known_start((site.minute + minute) * MINUTE, PRICE, 4)

    assert site.country.whole.known.alarm
    assert site.country.whole.known.alarm.unusual > 100


def test_the_trickle_follows_what_usually_approves_within_bounds(learnt):
    site = site_of(learnt)
    site.play(60, 8.0)

    assert site.country.suspicion("92300").trickle == pytest.approx(72 / 4, abs=5)
    assert PlaceTraffic().trickle(MIDNIGHT) == 12


def test_an_alarm_that_has_stood_for_a_day_lets_as_many_pass_as_usually_come(learnt):
    site = site_of(learnt)
    site.play(60, 8.0)
    told = site.country.whole.newcomers.alarm.raised
    whole = site.country.whole

    assert whole.trickle(told + WIDENED - 1) == pytest.approx(72 / 4, abs=5)
    assert whole.trickle(told + WIDENED) == pytest.approx(120, abs=12)
    assert whole.trickle(told + WIDENED) == round(whole.usual.starts((told + WIDENED) // 60))


def test_what_passes_unapproved_is_shown_beside_the_usual_whether_an_alarm_stands_or_not(learnt):
    quiet, busy = site_of(learnt, 4), site_of(learnt, 4)
    quiet.play(DAY)
    assert busy.play(DAY, 8.0, verifies=0.58) == []
    usual = quiet.usual.daily_unapproved()

    assert usual == pytest.approx(2 * DAY * 0.4, rel=0.05)
    assert quiet.country.whole.passed.day == pytest.approx(usual, rel=0.1)
    assert quiet.country.whole.passed.day_money == pytest.approx(usual * PRICE, rel=0.1)
    assert busy.country.whole.passed.day > 3 * usual
    assert busy.country.whole.passed.at(busy.minute + DAY).day < 0.4 * busy.country.whole.passed.day


# --- minutes, clocks, and what comes late ----------------------------------------------------------------------------


def test_a_start_is_judged_after_five_minutes_and_an_approval_counts_until_then():
    outcomes = Outcomes()
    outcomes.ripe(MIDNIGHT)
    outcomes.start(MIDNIGHT, 3, 3, 0)
    outcomes.approve(MIDNIGHT)
    assert outcomes.ripe(MIDNIGHT + 5) == []
    outcomes.approve(MIDNIGHT)

    assert outcomes.ripe(MIDNIGHT + 6) == [Slot(MIDNIGHT, 3, 3, 2, 0)]
    outcomes.approve(MIDNIGHT)
    assert outcomes.ripe(MIDNIGHT + 20) == []


def test_an_approval_that_a_moved_clock_puts_into_another_minute_is_not_lost():
    outcomes = Outcomes()
    outcomes.start(MIDNIGHT, 1, 1, 0)
    outcomes.approve(MIDNIGHT)
    outcomes.approve(MIDNIGHT)
    assert outcomes.ripe(MIDNIGHT + 1) == []
    outcomes.start(MIDNIGHT + 1, 2, 2, 0)

    assert [one.approvals for one in outcomes.ripe(MIDNIGHT + 9)] == [1, 1]


def asked_and_passed(*minutes):
    """Return the sums of attempts and approvals of minutes: how many were asked, passed and approved in each."""
    outcomes, judged = Outcomes(), []
    for minute, (asked, passed, approved) in enumerate(minutes, MIDNIGHT):
        judged += outcomes.ripe(minute)
        outcomes.start(minute, asked, 0, 0)
        outcomes.start(minute, 0, passed, 0)
        outcomes.approve(minute, approved)
    judged += outcomes.ripe(MIDNIGHT + 20)
    return sum(one.attempts for one in judged), sum(one.approvals for one in judged)


def test_who_is_asked_in_one_minute_and_passes_in_the_next_is_one_attempt():
    assert asked_and_passed((5, 0, 0), (0, 4, 3)) == (5, 3)
    assert asked_and_passed((5, 5, 3), (5, 4, 3), (0, 1, 0)) == (10, 6)


def test_a_check_that_came_without_being_asked_for_is_an_attempt_too():
    assert asked_and_passed((0, 4, 3), (0, 4, 2)) == (8, 5)
    assert asked_and_passed((8, 0, 0), (8, 4, 3)) == (16, 3)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-400, 400), st.integers(1, 5), st.integers(0, 5)), max_size=60))
def test_whatever_the_clock_does_nothing_is_judged_twice(steps):
    outcomes, minute, started, judged = Outcomes(), MIDNIGHT, 0, []
    for step, starts, approvals in steps:
        minute += step // 20 if step % 2 else step
        judged += outcomes.ripe(minute)
        outcomes.start(minute, starts, starts, 0)
        outcomes.approve(minute, min(starts, approvals))
        started += starts
    judged += outcomes.ripe(minute + 500)

    assert sum(one.attempts for one in judged) <= started
    assert all(0 <= one.approvals <= one.attempts for one in judged)
    assert outcomes.waiting == 0


def test_after_a_clock_was_set_back_all_goes_on(learnt):
    site = site_of(learnt)
    site.play(30)
    site.minute -= 180

    assert site.play(120) == []
    assert (Finding.ALARM, "") in site.play(60, 8.0)


# --- the row ---------------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.floats(0, 6), st.booleans())
def test_a_place_is_the_same_after_it_was_packed(learnt, seed, attack, asks):
    site = site_of(learnt, seed)
    site.play(45, attack, asks=asks, known=1.0)
    for place in (site.country.whole, *site.country.ranges.values()):
        packed = pack_place(place)
        again = unpack_place(packed)
        assert pack_place(again) == packed
        assert again.newcomers.pending == place.newcomers.pending
        assert again.suspicion(site.minute).ask == place.suspicion(site.minute).ask
        assert again.usual.share(5).share == pytest.approx(place.usual.share(5).share, abs=1e-3)


def test_each_number_of_an_alarm_a_run_and_a_day_comes_back():
    place = PlaceTraffic()
    place.known = Outcomes(MIDNIGHT + 9, surplus=3, raised=MIDNIGHT + 2, ended=MIDNIGHT + 3)
    place.known.alarm = Alarm(MIDNIGHT + 1, 4.5, 7.5, 8.5, 9.5, 10.5, 11.5)
    place.known.test.runs[2] = Run(1.5, 2, 3, 4.5)
    place.daily = DailyTest(20_000, 1, 2, 3.5, 4.5, True, 5.5, 6.5, 7.5, 20_001, 8.5, 9.5)

    assert unpack_place(pack_place(place)) == place


def test_a_place_goes_on_where_it_was_packed(learnt):
    one, other = site_of(learnt), site_of(learnt)
    one.play(8, 8.0)
    other.play(8, 8.0)
    other.country = CountryTraffic(
        unpack_place(pack_place(other.country.whole)),
        {name: unpack_place(pack_place(place)) for name, place in other.country.ranges.items()},
    )

    assert one.play(60, 8.0) == other.play(60, 8.0)
    assert one.notices[0].minute == other.notices[0].minute


def test_a_quiet_place_is_small(learnt):
    _, whole, ranges = learnt

    assert len(whole) <= 1200
    assert max(len(one) for one in ranges.values()) <= 920


def test_a_row_of_another_version_is_refused():
    with pytest.raises(ValueError, match="has version 99, not 1"):
        unpack_place(b"\x63" + pack_place(PlaceTraffic())[1:])


def test_sums_by_hour_keep_four_digits():
    place = PlaceTraffic()
    place.usual.started = [0.0, 1.0, 12_345.6, 3e8] + [0.0] * (HOURS - 4)

    assert unpack_place(pack_place(place)).usual.started[:4] == pytest.approx([0.0, 1.0, 12_345.6, 3e8], rel=5e-4)


# --- growth, known numbers -----------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.floats(1, 2000), st.floats(0.5, 3), st.floats(0, 1e6), st.floats(0, 1e5))
def test_a_bucket_grows_with_approvals_to_a_multiple_of_what_is_usual(amount, factor, approvals, usual):
    capacity = bounded_capacity(amount, factor, approvals, usual)

    assert amount <= capacity <= amount + factor * approvals
    assert capacity <= max(2 * amount, amount + GROWTH * factor * usual)
    if approvals <= usual:
        assert capacity == amount + factor * approvals


def test_an_alarm_of_nothing_has_no_level():
    assert Alarm(MIDNIGHT).level == 0


def test_more_asked_attempts_than_a_row_holds_are_judged_all_the_same():
    place = PlaceTraffic()
    place.newcomers.start(MIDNIGHT, 1_000_000, 0, 0)
    place.advance(MIDNIGHT + 10)

    assert unpack_place(pack_place(place)).newcomers.unsent == 65_535
