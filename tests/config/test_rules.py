"""offers.toml: what may stand in it, and one clear line for everything that may not."""

from __future__ import annotations

import tomllib
from datetime import date
from pathlib import Path

import pytest

from nextoffer.config import Settings, load_rules, load_settings, parse_settings
from nextoffer.config.rules import Rule, inline_incentives, parse_rules
from nextoffer.errors import ConfigError

SHOP = """\
currency = "EUR"
[history.orders]
path = "orders.csv"
[incentives.ten-off]
type = "percent"
value = 10
[campaigns.spring]
[placements.home]
"""
FULL = """\
[spring-tea]
product = "T100"
kind = "win_back"
incentive = { type = "percent", value = 10, min_order = 30, quota = 500 }
from = 2026-12-01
until = 2026-12-24
priority = 10
pinned = true
channels = ["email", "site"]
placements = ["home"]
campaigns = ["spring"]
text = { en = "Your tea, a tenth cheaper.", ru = "Ваш чай на десятую часть дешевле." }
[spring-tea.audience]
segments = ["loyal"]
rfm = { recency_days = [0, 60], frequency = [2, inf], monetary = [50, 1e9] }
bought_category = "Tea"
not_bought_category = "Coffee"
last_purchase_days = [30, 90]
customers = ["c1"]
"""


@pytest.fixture
def shop() -> Settings:
    return parse_settings(tomllib.loads(SHOP), "nextoffer.toml", Path("/shop"))


def rules_of(text: str, shop: Settings) -> tuple[Rule, ...]:
    return parse_rules(tomllib.loads(text), "offers.toml", shop)


def faults_of(text: str, shop: Settings) -> list[str]:
    with pytest.raises(ConfigError) as error:
        rules_of(text, shop)
    assert error.value.where == "offers.toml"
    return error.value.faults


def test_everything_a_rule_may_say_is_read(shop: Settings) -> None:
    (rule,) = rules_of(FULL, shop)
    assert (rule.name, rule.wanted, rule.kind, rule.priority, rule.pinned) == (
        "spring-tea",
        ("T100",),
        "win_back",
        10,
        True,
    )
    assert rule.audience.rfm.frequency == (2.0, float("inf"))
    assert rule.said("ru") == "Ваш чай на десятую часть дешевле."
    ((name, terms),) = inline_incentives([rule])
    assert (name, terms.type, terms.value, terms.quota) == ("spring-tea", "percent", 10, 500)


def test_a_rule_needs_nothing_but_its_name(shop: Settings) -> None:
    (rule,) = rules_of("[all]\n", shop)
    assert rule.is_basket and rule.kind == "for_you" and rule.incentive is None
    assert rule.runs_on(date.min) and rule.runs_on(date.max)
    assert rule.said("en") is None and inline_incentives([rule]) == []


def test_both_days_of_a_rule_are_included(shop: Settings) -> None:
    (rule,) = rules_of("[a]\nfrom = 2026-12-01\nuntil = 2026-12-24\n", shop)
    days = [date(2026, 11, 30), date(2026, 12, 1), date(2026, 12, 24), date(2026, 12, 25)]
    assert [rule.runs_on(day) for day in days] == [False, True, True, False]


def test_an_incentive_on_the_whole_basket_need_not_say_so(shop: Settings) -> None:
    on_basket, on_product = rules_of(
        '[a]\nincentive = { type = "amount", value = 5 }\n'
        '[b]\nproduct = "p"\nincentive = { type = "amount", value = 5 }\n',
        shop,
    )
    assert (on_basket.incentive.scope, on_product.incentive.scope) == ("basket", "product")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('prodct = "p"', "a.prodct: unknown key; did you mean 'product'?"),
        ("form = 2026-12-01", "a.form: unknown key; did you mean 'from'?"),
        ('audience = { segment = ["loyal"] }', "a.audience.segment: unknown key; did you mean 'segments'?"),
        (
            "audience = { rfm = { recencydays = [0, 1] } }",
            "a.audience.rfm.recencydays: unknown key; did you mean 'recency_days'?",
        ),
        (
            'audience = { segments = ["loyl"] }',
            "a.audience.segments: there is no segment 'loyl'; did you mean 'loyal'?",
        ),
        (
            "audience = { last_purchase_days = [90, 30] }",
            "a.audience.last_purchase_days: a range is [least, most], both included; [90.0, 30.0] holds nothing",
        ),
        ("audience = { rfm = { monetary = [nan, 1] } }", "a.audience.rfm.monetary: a range is [least, most]"),
        (
            'incentive = { type = "percent", value = 110 }',
            "a.incentive: a discount of 110 % is above 100 %",
        ),
        (
            'incentive = { type = "percent", value = 10, cost = -1 }',
            "a.incentive.cost: input should be greater than or equal to 0 (it is -1)",
        ),
        (
            'incentive = { type = "percent", value = 10, minorder = 30 }',
            "a.incentive.minorder: unknown key; did you mean 'min_order'?",
        ),
        (
            'incentive = { type = "percent", value = 10, kinds = ["win_back"] }',
            "a: an incentive of one rule has no kinds",
        ),
        (
            'incentive = "tenoff"',
            "a.incentive: nextoffer.toml has no [incentives.tenoff]; did you mean 'ten-off'?",
        ),
        (
            'incentive = "ten-off"',
            "a.incentive: percent is taken off a product, and the rule offers the whole basket",
        ),
        (
            'incentive = { type = "fixed_price", value = 3 }',
            "a.incentive: fixed_price is taken off a product",
        ),
        (
            'campaigns = ["sprng"]',
            "a.campaigns: nextoffer.toml has no [campaigns.sprng]; did you mean 'spring'?",
        ),
        (
            'placements = ["hom"]',
            "a.placements: nextoffer.toml has no [placements.hom]; did you mean 'home'?",
        ),
        ('channels = ["mail"]', "a.channels: there is no channel 'mail'; did you mean 'email'?"),
        ('kind = "foryou"', "a.kind: input should be 'cross_sell'"),
        (
            "from = 2026-12-24\nuntil = 2026-12-01",
            "a: from = 2026-12-24 is after until = 2026-12-01: swap them",
        ),
        (
            'product = "p"\ncategory = "Tea"',
            "a: name what is offered once: product, or products, or category",
        ),
        ('name = "b"', "a.name: unknown key; the name of a rule stands in its brackets"),
        ('text = { de = "Tee" }', "a.text.de: input should be 'en' or 'ru'"),
        ("priority = 5000", "a.priority: input should be less than or equal to 1000"),
        ('from = "2026-13-01"', "a.from: "),
    ],
)
def test_a_fault_is_one_line_that_names_rule_key_and_remedy(text: str, fault: str, shop: Settings) -> None:
    (said,) = faults_of(f"[a]\n{text}\n", shop)
    assert said.startswith(fault)


def test_all_faults_of_all_rules_are_told_at_once(shop: Settings) -> None:
    faults = faults_of('x = 1\n[a]\nprodct = "p"\nkind = "k"\n[b]\nincentive = "none-such"\n[c]\n', shop)
    assert [fault.partition(":")[0] for fault in faults] == ["x", "a.kind", "a.prodct", "b.incentive"]


def test_a_rule_may_not_take_the_name_of_an_incentive_of_the_shop(shop: Settings) -> None:
    (fault,) = faults_of('[ten-off]\nincentive = { type = "points", value = 5 }\n', shop)
    assert "rename the rule" in fault


@pytest.mark.parametrize("name", ["none", "nothing", "win-back 5 %"])
def test_no_incentive_has_a_name_that_means_something_else(name: str, shop: Settings) -> None:
    terms = '{ type = "points", value = 5 }'
    (fault,) = faults_of(f'["{name}"]\nincentive = {terms}\n', shop)
    assert "rename the rule" in fault

    with pytest.raises(ConfigError, match="another name"):
        parse_settings(
            tomllib.loads(f'{SHOP}\n[incentives."{name}"]\ntype = "points"\nvalue = 5\n'), "x", Path(".")
        )


def test_ten_thousand_wrong_rules_are_not_ten_thousand_lines(shop: Settings) -> None:
    faults = faults_of("".join(f"[r{n}]\nprodct = 1\n" for n in range(10_000)), shop)
    assert len(faults) == 31 and faults[-1] == "and 9,970 more"


def test_ten_thousand_rules_are_read_in_order(shop: Settings) -> None:
    rules = rules_of("".join(f'[r{n}]\nproduct = "p{n}"\n' for n in range(10_000)), shop)
    assert [rule.wanted for rule in rules] == [(f"p{n}",) for n in range(10_000)]


def test_more_rules_than_can_be_numbered_are_refused(shop: Settings) -> None:
    with pytest.raises(ConfigError, match="at most 32,000"):
        parse_rules({f"r{n}": {} for n in range(32_001)}, "offers.toml", shop)


def test_the_file_beside_the_configuration_is_found_and_another_may_be_named(tmp_path: Path) -> None:
    config = tmp_path / "nextoffer.toml"
    config.write_text(SHOP)
    assert load_rules(load_settings(config, {})) == ()
    (tmp_path / "offers.toml").write_text("[beside]\n")
    assert [rule.name for rule in load_rules(load_settings(config, {}))] == ["beside"]
    (tmp_path / "mine.toml").write_text("[named]\n")
    config.write_text(f'offers_file = "mine.toml"\n{SHOP}')
    assert [rule.name for rule in load_rules(load_settings(config, {}))] == ["named"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [(None, "there is no such file"), ("[a\n", "not valid TOML"), ("\xff", "cannot be read")],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, text: str | None, fault: str) -> None:
    (tmp_path / "nextoffer.toml").write_text(f'offers_file = "mine.toml"\n{SHOP}')
    if text is not None:
        (tmp_path / "mine.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=fault):
        load_rules(load_settings(tmp_path / "nextoffer.toml", {}))
