"""Every KPI of a shop of six people, worked out by hand."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.measurement.kpi.shops import answer, line, person, shop, window

from nextoffer.config.measuring import KPI_NAMES
from nextoffer.measurement.kpi import KPIS, Filter, Terms, count, kpi, roi_attributed, roi_incremental
from nextoffer.measurement.records import Records


@pytest.fixture(scope="module")
def six() -> Records:
    """The window is days 0 to 30; the one before it days −30 to 0."""
    return shop(
        lines=[
            line("1", "ann", -60, 10_00, 4_00),  # long ago
            line("2", "ann", -10, 20_00, 15_00, points_spent=100),
            line("3", "ann", 5, 30_00, 10_00, promo_code="SPRING"),
            line("4", "ann", 25, 10_00, points_spent=300),  # no cost known: margin 3.00
            line("5", "bob", -20, 50_00, 20_00),  # bought before, not in the window
            line("6", "cid", 3, 40_00, 30_00),  # new, invited by ann
            line("7", "dan", 8, 15_00, 5_00),  # came back within the window
            line(
                "7", "dan", 9, -15_00, -5_00, quantity=-1.0
            ),  # … with everything: no order, no customer who bought
            line("8", None, 12, 5_00, 1_00),  # a guest
            line("9", "eve", 40, 99_00, 1_00),  # only after the window
        ],
        people=[
            person("ann", "club", joined=-30),
            person("bob", "club", joined=10),
            person("cid", by="ann"),
            person("dan", by="dan"),  # nobody invites themselves
            person("eve", "club", joined=35),
            person("fay"),  # never bought
        ],
        surveys=[
            answer("nps", 10, customer="ann"),
            answer("nps", 9),
            answer("nps", 7),
            answer("nps", 2),
            answer("nps", 11),  # no answer on a scale from 0 to 10
            answer("csi", 5, aspect="delivery"),
            answer("csi", 2, aspect="site"),
            answer("csi", 4, aspect="site"),
            answer("review", 4),
            answer("review", 5),
            answer("review", 1, at=31),
        ],
        segments={"ann": "champions", "bob": "lost", "cid": "new"},
    )


EXPECTED: dict[str, Any] = {
    "customers": 5,  # ann, bob, cid, dan who bought and returned, fay: eve is not there yet
    "members": 2,
    "participation": 2 / 5,
    "joined": 1,  # bob
    "buyers": 2,  # ann, cid
    "conversion": 2 / 5,
    "orders": 4,  # 3, 4, 6 and the guest's
    "revenue": 85_00,
    "margin": 20_00 + 3_00 + 10_00 + 4_00,
    "average_order": 85_00 / 4,
    "frequency": 3 / 2,
    "revenue_per_customer": 80_00 / 5,
    "margin_per_customer": 33_00 / 5,
    "repeat_orders": 2,  # both of ann's
    "repeat_share": 1 / 2,
    "retention": 1 / 2,  # of ann and bob, ann
    "churn": 1 / 2,
    "new_customers": 1,
    "invited": 1,
    "referrers": 1,
    # ann 6 + 5 + 20 + 3 margin − 400 points at 2 = 26.00; bob 30.00; cid 10.00
    "lifetime_profit": (26_00 + 30_00 + 10_00) / 3,
    "lifetime_revenue": (70_00 + 50_00 + 40_00) / 3,
    "relationship_days": 85 / 3,
    "points_orders": 1 / 4,
    "points_value": 6_00 / 85_00,
    "promo_orders": 1,
    "reviews": 2,
    "rating": 4.5,
    "nps": 100 * (2 - 1) / 4,
    "csi": (5 * 3 + 2 + 4) / 5,  # delivery counts three times
    "programme_cost": 20_00,
    "roi_attributed": (50_00 - 20_00) / 20_00,
    "roi_incremental": 0.5,
}
TERMS = Terms(point_value=Decimal(2), csi_weights={"delivery": 3.0})
EXTRA = {
    "programme_cost": 20_00,
    "attributed_cost": 20_00,
    "attributed_net": 30_00,
    "incremental_profit": 10_00,
}


@pytest.mark.parametrize("name", KPI_NAMES)
def test_each_kpi_is_what_a_pencil_finds(six: Records, name: str) -> None:
    totals = count(six, window(), TERMS, extra=EXTRA).totals

    assert kpi(name).cell(totals) == pytest.approx(EXPECTED[name])


def test_counts_and_sums_of_money_are_exact_whole_numbers(six: Records) -> None:
    totals = count(six, window(), TERMS, extra=EXTRA).totals

    for each in KPIS:
        if each.format in ("count", "money"):
            assert type(each.cell(totals)) is int, each.name


def test_the_configuration_names_exactly_the_kpis_there_are() -> None:
    assert tuple(each.name for each in KPIS) == KPI_NAMES


def test_a_shop_without_sales_has_counts_of_nothing_and_no_shares() -> None:
    totals = count(shop([], people=[]), window()).totals

    assert kpi("orders").cell(totals) == 0 and kpi("revenue").cell(totals) == 0
    for name in ("participation", "average_order", "frequency", "nps", "csi", "retention", "roi_attributed"):
        assert kpi(name).cell(totals) is None, name


def test_membership_is_not_known_without_a_table_of_customers() -> None:
    totals = count(shop([line("1", "ann", 1, 10_00)]), window()).totals

    assert [kpi(name).cell(totals) for name in ("members", "participation", "invited")] == [None, None, None]
    assert kpi("customers").cell(totals) == 1


def test_a_segment_is_its_customers_and_no_guest(six: Records) -> None:
    totals = count(six, window(), filter=Filter(segment="champions")).totals

    assert kpi("orders").cell(totals) == 2 and kpi("revenue").cell(totals) == 40_00
    assert kpi("nps").cell(totals) == 100


def test_a_segment_of_nobody_counts_nothing(six: Records) -> None:
    totals = count(six, window(), filter=Filter(segment="at_risk")).totals

    assert kpi("customers").cell(totals) == 0 and kpi("average_order").cell(totals) is None


def test_a_category_is_its_lines_and_those_below_it() -> None:
    records = shop(
        [
            line("1", "ann", -5, 10_00, 4_00, product_id="tea"),
            line("1", "ann", -5, 90_00, 1_00, product_id="pot"),
            line("2", "ann", 2, 20_00, None, product_id="green"),
            line("3", "bob", 3, 70_00, 1_00, product_id="pot"),
            line("4", "cid", 4, 50_00, 1_00, product_id="teak"),
        ],
        categories={"tea": "Tea", "green": "Tea > Green", "pot": "Pots", "teak": "Teak"},
    )

    totals = count(records, window(-10), filter=Filter(category="Tea")).totals

    assert kpi("orders").cell(totals) == 2 and kpi("revenue").cell(totals) == 30_00
    assert kpi("margin").cell(totals) == 6_00 + 6_00
    assert kpi("buyers").cell(totals) == 1 and kpi("repeat_orders").cell(totals) == 1
    assert kpi("lifetime_profit").cell(totals) is None and kpi("nps").cell(totals) is None


def test_roi_attributed_is_revenue_less_cost_over_cost() -> None:
    assert roi_attributed(300_00, 200_00) == 0.5
    assert roi_attributed(100_00, 200_00) == -0.5
    assert roi_attributed(100_00, 0) is None


def test_roi_incremental_is_what_was_caused_after_cost_over_cost_with_its_interval() -> None:
    assert roi_incremental(50.0, -10.0, None, 100.0) == (0.5, -0.1, None)
    assert roi_incremental(50.0, 0.0, 1.0, 0.0) is None


def test_every_kpi_is_explained_to_the_marketer() -> None:
    page = (Path(__file__).parents[3] / "docs" / "kpis.md").read_text(encoding="utf-8")
    explained = {
        name
        for row in page.splitlines()
        if row.startswith("| `")
        for name in re.findall("`(.+?)`", row.split("|")[1])
    }

    assert explained == set(KPI_NAMES)
