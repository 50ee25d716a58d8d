"""What `nextoffer offers` says of the marketer's rules, against single customers asked one by one."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from io import StringIO
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from nextoffer.bundle.bundle import Bundle
from nextoffer.config import Settings
from nextoffer.offers.by_hand import candidates, reach, with_rules
from nextoffer.offers.choosing import Context
from nextoffer.offers.ranking import choose
from nextoffer.pipeline import rule_judging
from nextoffer.pipeline.analysis import OpenShop
from nextoffer.pipeline.offers_report import OffersReport, offers_report
from nextoffer.pipeline.offers_table import rules_rendered

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
Reporter = Callable[[str], OffersReport]


@pytest.fixture
def shop_with(shop_bundle: Bundle, shop_settings: Settings, tmp_path: Path) -> Callable[[str], OpenShop]:
    def made(text: str) -> OpenShop:
        (tmp_path / "offers.toml").write_text(text, encoding="utf-8")
        shop = shop_settings.model_copy(update={"offers_file": tmp_path / "offers.toml"})
        policy, found = with_rules(shop, shop_bundle, NOW.date())
        return OpenShop(shop, shop_bundle, policy, found)

    return made


@pytest.fixture
def report_of(shop_with: Callable[[str], OpenShop]) -> Reporter:
    return lambda text: offers_report(shop_with(text), NOW)


def category_of(bundle: Bundle) -> str:
    return next(path for path in bundle.catalogue.category if path)


def sellable(bundle: Bundle) -> list[str]:
    catalogue = bundle.catalogue
    good = (catalogue.price - catalogue.unit_cost) > 0.3 * catalogue.price
    good &= ~catalogue.hidden & ~catalogue.restricted & ~(catalogue.stock <= 0)
    return [catalogue.ids.text(int(row)) for row in np.flatnonzero(good)]


def three_rules(bundle: Bundle) -> str:
    return f"""
    [tea]
    audience = {{ rfm = {{ recency_days = [0, 90] }} }}
    category = "{category_of(bundle)}"
    incentive = {{ type = "percent", value = 10 }}
    [two]
    products = {sellable(bundle)[:2]}
    [basket]
    audience = {{ rfm = {{ recency_days = [60, inf] }} }}
    kind = "win_back"
    incentive = {{ type = "amount", value = 2, min_order = 10 }}
    """


def test_cost_and_profit_are_the_sums_over_customers_asked_one_by_one(
    shop_with: Callable[[str], OpenShop], shop_bundle: Bundle
) -> None:
    shop = shop_with(three_rules(shop_bundle))
    report = offers_report(shop, NOW)
    assert shop.by_hand is not None
    for at, told in enumerate(report.rules):
        alone = reach(shop_bundle, [shop.by_hand.rules[at]], NOW.date())
        offered, uses, cost, profit, reached = 0, 0.0, 0.0, 0.0, 0
        for row in range(report.customers):
            mine = candidates(alone, np.array([row]))
            reached += len(mine) > 0
            mine.rule[:] = at
            slate = choose(shop_bundle, np.array([row]), mine, shop.policy, Context(n=1, max_per_kind=1))
            offered += len(slate)
            uses += slate.p_offer.sum()
            cost, profit = cost + slate.cost.sum(), profit + slate.expected_profit.sum()
        assert told.looked_at == told.reached >= reached > 0
        assert told.offered == offered > 0
        assert told.expected_cost == pytest.approx(cost)
        assert told.expected_profit == pytest.approx(profit)
        assert told.expected_uses == pytest.approx(uses)
        assert told.eligible + sum(told.dropped.values()) == told.reached


def test_consent_is_counted_channel_by_channel(
    report_of: Reporter, shop_bundle: Bundle, shop_settings: Settings
) -> None:
    (told,) = report_of("[long-silent]\naudience = { rfm = { recency_days = [60, inf] } }\n").rules
    table = pq.read_table(str(shop_settings.history.customers.path)).to_pylist()  # type: ignore[union-attr]
    known = {one["customer_id"]: one for one in table}
    silent = [
        known[shop_bundle.customer_ids.ids.text(row)]
        for row, days in enumerate(shop_bundle.knowledge.customers.recency_days)
        if days >= 60
    ]
    assert told.reached == len(silent)
    assert told.consent is not None
    assert told.consent["email"] == sum(bool(one["consent_email"] and one["email"]) for one in silent) > 0


def test_a_large_audience_is_judged_by_an_even_sample(
    report_of: Reporter, shop_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = report_of(three_rules(shop_bundle)).rules
    monkeypatch.setattr(rule_judging, "LOOKED_AT", 300)
    monkeypatch.setattr(rule_judging, "BLOCK", 70)
    for all_of_it, some in zip(whole, report_of(three_rules(shop_bundle)).rules, strict=True):
        assert some.reached == all_of_it.reached
        assert some.looked_at == min(100, some.reached)
        assert some.eligible == pytest.approx(all_of_it.eligible, rel=0.25, abs=5)
        assert some.expected_profit == pytest.approx(all_of_it.expected_profit, rel=0.5)


def test_when_a_rule_runs_is_told(report_of: Reporter) -> None:
    text = "[a]\n[b]\nuntil = 2026-12-24\n[c]\nfrom = 2026-12-01\n[d]\nuntil = 2026-01-01\n"
    told = report_of(text).rules
    states = ["active", "active until 2026-12-24", "from 2026-12-01", "ended 2026-01-01"]
    assert [rule.state for rule in told] == states
    assert [rule.active for rule in told] == [True, True, False, False]
    assert all(rule.reached > 0 for rule in told)  # also before it starts


@pytest.mark.parametrize(
    ("rule", "note"),
    [
        ('product = "{first}x"', "product '{first}x' is not in the catalogue; did you mean '{first}'?"),
        ('category = "{last}"', "category: there is no category '{last}'; did you mean '{path}'?"),
        (
            'audience = {{ bought_category = "{path}s" }}',
            "bought_category: there is no category '{path}s'; did you mean '{path}'?",
        ),
        ('brand = "{brand}s"', "there is no brand '{brand}s'; did you mean '{brand}'?"),
        (
            'audience = {{ customers = ["nobody"] }}',
            "1 of its customers have no purchase before the bundle, customers[0] for one",
        ),
        (
            'audience = {{ customers = ["nobody"] }}',
            "reaches nobody: no customer meets customers = [1 of them]",
        ),
        (
            'product = "{first}"\nincentive = {{ type = "percent", value = 99 }}',
            "below the margin floor for everybody who might get it",
        ),
        (
            'product = "{first}"\npriority = 1\nincentive = {{ type = "points", value = 100000, cost = 400 }}',
            "below the margin floor",
        ),
        (
            'product = "{first}"\nincentive = {{ type = "percent", value = 1, quota = 1 }}',
            "expected to be used ",
        ),
        ('product = "{restricted}"', "nobody it reaches may get it: restricted"),
    ],
)
def test_what_is_wrong_with_a_rule_is_said_with_the_nearest_that_is_right(
    rule: str, note: str, report_of: Reporter, shop_bundle: Bundle
) -> None:
    catalogue, path = shop_bundle.catalogue, category_of(shop_bundle)
    words = {
        "first": sellable(shop_bundle)[0],
        "path": path,
        "last": path.rpartition(" > ")[2],
        "brand": next(brand for brand in catalogue.brand if brand),
        "restricted": catalogue.ids[int(np.flatnonzero(catalogue.restricted & ~catalogue.hidden)[0])],
    }
    (told,) = report_of(f"[a]\n{rule.format(**words)}\n").rules
    assert any(one.startswith(note.format(**words)) for one in told.notes), told.notes


def test_two_rules_for_the_same_audience_and_offer_conflict_on_the_days_they_share(
    report_of: Reporter,
) -> None:
    report = report_of(
        "[a]\nuntil = 2026-12-10\npriority = 2\n[b]\nfrom = 2026-12-05\n[c]\nfrom = 2026-12-11\nuntil = 2026-12-12\n"
        "[d]\nuntil = 2026-12-04\n[other]\naudience = { rfm = { frequency = [2, inf] } }\n"
    )
    found = {one.rules: one for one in report.conflicts if one.what == "overlap"}
    assert set(found) == {("a", "b"), ("b", "c"), ("a", "d")}
    one = found["a", "b"]
    assert (one.first_day, one.last_day, one.wins) == (date(2026, 12, 5), date(2026, 12, 10), "a")
    assert one.customers == report.customers and found["b", "c"].wins is None


def test_one_product_with_two_incentives_for_the_same_customers_is_a_conflict(
    report_of: Reporter, shop_bundle: Bundle
) -> None:
    product = sellable(shop_bundle)[0]
    frequency = np.asarray(shop_bundle.knowledge.customers.frequency)
    text = f"""
    [mild]
    product = "{product}"
    incentive = {{ type = "percent", value = 1 }}
    audience = {{ rfm = {{ frequency = [2, 9] }} }}
    [deep]
    products = ["{product}", "{sellable(shop_bundle)[1]}"]
    incentive = {{ type = "percent", value = 5 }}
    audience = {{ rfm = {{ frequency = [5, inf] }} }}
    [same-as-mild]
    product = "{product}"
    incentive = {{ type = "percent", value = 1 }}
    audience = {{ rfm = {{ frequency = [1, inf] }} }}
    [later]
    product = "{product}"
    incentive = {{ type = "percent", value = 7 }}
    audience = {{ rfm = {{ frequency = [3, inf] }} }}
    from = 2030-01-01
    until = 2030-01-02
    channels = ["push"]
    [on-the-site]
    product = "{product}"
    incentive = {{ type = "percent", value = 8 }}
    audience = {{ rfm = {{ frequency = [4, inf] }} }}
    from = 2030-01-01
    channels = ["site"]
    """
    found = {one.rules: one.customers for one in report_of(text).conflicts}
    both = int(((frequency >= 5) & (frequency <= 9)).sum())
    assert found["mild", "deep"] == both > 0
    assert ("mild", "same-as-mild") not in found  # they give the same
    assert ("later", "on-the-site") not in found  # never in one place
    assert ("mild", "later") in found


def test_the_document_says_what_the_report_does_in_decimal_strings(
    report_of: Reporter, shop_bundle: Bundle
) -> None:
    report = report_of(three_rules(shop_bundle))
    document = json.loads(json.dumps(report.to_json()))
    assert document["currency"] == "GBP" and document["today"] == "2026-11-22"
    for told, rule in zip(document["rules"], report.rules, strict=True):
        assert Decimal(told["expected_profit"]) == round(Decimal(rule.expected_profit), 2)
        assert (told["from"], told["until"], told["consent"]["email"]) == (None, None, rule.consent["email"])  # type: ignore[index]


def test_the_table_names_every_rule_and_a_shop_without_rules_is_shown_how_to_write_one(
    report_of: Reporter, shop_bundle: Bundle
) -> None:
    from rich.console import Console

    def printed(text: str) -> str:
        console = Console(record=True, width=100, file=StringIO())
        console.print(rules_rendered(report_of(text)))
        return console.export_text()

    assert all(name in printed(three_rules(shop_bundle)) for name in ("tea", "two", "basket"))
    assert "[coffee-for-the-loyal]" in printed("")
