"""``otp-service messages``, and what ``config check`` says of messages."""

import pytest
from support_cli import configured, rows, run

URL = "redis://127.0.0.1:1/0"
APP_HASH = "FA+9qCX9VSu"


def shop(**members):
    return {
        "shop": {"name": "Acme Shop", "purposes": ["login", "payment"], "countries": ["PK"], **members},
        "bank": {"name": "Acme Bank", "purposes": ["login"], "countries": ["PK"]},
    }


def environment(folder, **sections):
    return configured(folder, URL, **sections)


def test_what_comes_with_the_package_is_within_its_budgets_without_any_configuration():
    result = run("messages", "check")

    assert result.exit_code == 0
    assert "en possession sms\tGSM-7\t73\t105\t1-1\t1\n" in result.output
    assert "ur transaction sms\tUCS-2\t111\t170\t2-3\t3\n" in result.output
    assert "texts are within their budgets." in result.output


def test_every_application_is_tried_with_its_own_brand_origin_and_hash(tmp_path):
    environ = environment(tmp_path, applications=shop(origin="shop.example", app_hash=APP_HASH))
    result = run("messages", "check", environ=environ)
    told = {name: cells for name, *cells in rows(result.stdout)}

    assert result.exit_code == 0
    assert told["en login sms shop"][2] == str(len("Your Acme Shop code is 123456. It is valid for less than a minute."
                                                   " Never share it.\n@shop.example #123456 FA+9qCX9VSu"))  # fmt: skip
    assert {"ur payment sms shop", "ar login sms bank"} <= told.keys()
    assert "en payment sms bank" not in told


def test_an_application_that_bursts_a_budget_is_a_fault_with_the_reason(tmp_path):
    environ = environment(tmp_path, applications=shop(origin=f"{'a' * 60}.example", name="Acme's \u015ahop"))
    result = run("messages", "check", environ=environ)
    (line,) = (line for line in result.output.splitlines() if "en login sms shop" in line)

    assert result.exit_code == 1
    assert line.strip() == (
        "en login sms shop: takes up to 3 segments, 162 units of UCS-2; the budget in the file is 1; "
        "the brand has U+015A LATIN CAPITAL LETTER S WITH ACUTE, which is not in the GSM 7-bit alphabet."
    )


@pytest.mark.parametrize("command", [("messages", "check"), ("config", "check")])
def test_an_accidental_character_is_named_with_its_place(tmp_path, command):
    own = tmp_path / "own"
    own.mkdir()
    (own / "en.toml").write_text('never_share = "Don\u2019t share\u00a0it."', encoding="utf-8")
    environ = environment(tmp_path, messages={"directory": str(own)})
    result = run(*command, environ=environ)

    assert result.exit_code == 1
    why = "is not in the GSM 7-bit alphabet; it would make every such message UCS-2."
    for line in (
        f"en never_share: character 4, U+2019 RIGHT SINGLE QUOTATION MARK, {why}",
        f"en never_share: character 12, U+00A0 NO-BREAK SPACE, {why}",
        "en possession sms: takes up to 2 segments, 105 units of UCS-2; the budget in the file is 1.",
    ):
        assert f"  {line}\n" in result.output


def test_a_message_too_long_for_android_is_a_fault_in_the_applications_language_and_a_note_in_others(tmp_path):
    applications = shop(origin="shop.example", app_hash=APP_HASH)
    noted = run("messages", "check", environ=environment(tmp_path, applications=applications))
    applications["shop"]["locale"] = "ur-PK"
    refused = run("messages", "check", environ=environment(tmp_path, applications=applications))
    line = (
        "ur login sms shop: has 182 bytes with ordinary values; Android's SMS Retriever reads messages of at most 140."
    )

    assert (noted.exit_code, refused.exit_code) == (0, 1)
    assert f"Note: {line}\n" in noted.output
    assert f"  {line}\n" in refused.output
    assert "bank: has" not in noted.output


@pytest.mark.parametrize("command", [("messages", "check"), ("messages", "preview"), ("config", "check"), ("worker",)])
def test_a_file_that_would_harm_is_refused_everywhere(tmp_path, command):
    own = tmp_path / "own"
    own.mkdir()
    (own / "en.toml").write_text('never_share = "See acme.pk"')
    result = run(*command, environ=environment(tmp_path, messages={"directory": str(own)}))

    assert result.exit_code == 1
    assert f"{own}/en.toml: never_share: holds a link or a domain name at 'acme.pk'" in result.output


def test_a_preview_shows_every_message_with_its_cost():
    output = run("messages", "preview").output

    assert output.count("\n--- ") == 4 * 2 * 3 - 1
    assert (
        "--- en possession sms: GSM-7, 73 units, 1 segment\n"
        "Your Acme Bank code is 123456. It is valid for 5 minutes. Never share it.\n" in output
    )
    assert "--- ur-Latn (in ur) possession voice: 112 characters\n" in output


def test_a_preview_can_be_narrowed_to_one_message(tmp_path):
    environ = environment(tmp_path, applications=shop(origin="shop.example", app_hash=APP_HASH))
    options = ("--locale", "ur-PK", "--purpose", "payment", "--channel", "sms", "--application", "shop")
    output = run("messages", "preview", *options, environ=environ).output

    assert output.startswith(
        "--- ur-PK payment sms: UCS-2, 145 units, 3 segments, 290 bytes: too long for the SMS Retriever\n"
    )
    assert output.endswith(f"\n@shop.example #123456 {APP_HASH}\n\n")
    assert output.count("---") == 1


def test_a_preview_of_what_does_not_exist_is_refused(tmp_path):
    environ = environment(tmp_path)

    assert "The purpose 'no' does not exist" in run("messages", "preview", "--purpose", "no", environ=environ).output
    assert run("messages", "preview", "--application", "no", environ=environ).exit_code == 1
