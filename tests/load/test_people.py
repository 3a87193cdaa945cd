"""Who calls in a load run: valid numbers, apart from those that are attacked, and codes as people type them."""

import random
from itertools import islice

import pytest
from support_programs import programs_of

from otp_service.domain.codes import normalise_code
from otp_service.domain.numbers import parse_destination

(people,) = programs_of("load", "people")


def test_honest_people_have_mobile_numbers_that_nobody_else_has_and_come_back():
    town = people.Town(1)
    visitors = []
    for _ in range(400):
        visitors.append(town.visitor())
        town.came_in(visitors[-1])
    numbers = [one.number for one in visitors]

    assert {parse_destination(one, None).country for one in numbers} == {"PK", "GB"}
    assert max(numbers.count(one) for one in numbers) == people.VISITS
    assert not [one for one in numbers if one.startswith((*people.PUMPED_HEADS, *people.VICTIMS_HEADS))]


def test_the_same_seed_makes_the_same_town():
    assert [people.Town(7).visitor() for _ in range(3)] == [people.Town(7).visitor() for _ in range(3)]


def test_a_block_is_pumped_in_a_row_with_numbers_that_exist():
    numbers = list(islice(people.block(random.Random(1)), 50))

    assert len({one[:-4] for one in numbers}) == 1
    assert len(set(numbers)) == 50
    assert {parse_destination(one, None).country for one in numbers} == {"PK"}


@pytest.mark.parametrize(
    "head", [*people.HOME_HEADS, *people.ABROAD_HEADS, *people.PUMPED_HEADS, *people.VICTIMS_HEADS]
)
def test_every_beginning_makes_numbers_that_receive_messages(head):
    number = people.number_in(head, random.Random(3))

    assert parse_destination(number, None).e164 == number


@pytest.mark.parametrize(
    "text",
    ["Dev: 123456 is your code", "آپ کا کوڈ ۱۲۳۴۵۶ ہے", "to pay PKR 1,500.00 to K-Electric from account 4821: 123456"],
)
def test_the_code_is_found_in_a_message_of_any_script(text):
    assert people.code_in(text) == "123456"


def test_no_code_is_found_where_there_is_none():
    assert people.code_in("Nothing for account 4821, or 12345678") == ""


def test_who_reads_urdu_types_digits_that_the_service_takes():
    person = people.Person("+923001234567", "203.0.113.1", "ur-PK", "browser")

    assert person.typed("123456") != "123456"
    assert normalise_code(person.typed("123456")) == "123456"


def test_a_wrong_code_is_wrong_and_a_code():
    assert people.other_than("999999") == "000000"
