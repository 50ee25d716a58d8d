"""Types of rewards as the published table has them; campaigns and programmes by hand."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pytest
from tests.measurement.kpi.shops import START, line, person, shop, window

from nextoffer.config.measuring import ProgrammeTerms
from nextoffer.measurement.attribution import attributed
from nextoffer.measurement.costs import Costs
from nextoffer.measurement.kpi import Filter, Terms, count
from nextoffer.measurement.kpi.rewards import campaigns, effectiveness, programmes, reward_types
from nextoffer.measurement.records import Records

HIGH, MEDIUM = 20_000_00, 10_000_00
PUBLISHED = {  # reward: uses, average purchase, income, effectiveness
    "DISCOUNT": (100, 1000_00, 100_000_00, "high"),
    "POINTS": (20, 800_00, 16_000_00, "medium"),
    "GIFT": (5, 1200_00, 6_000_00, "low"),
    "DELIVERY": (15, 900_00, 13_500_00, "medium"),
    "EARLY": (30, 700_00, 21_000_00, "high"),
}


def test_types_of_rewards_are_those_of_the_published_table() -> None:
    lines = [
        line(f"{name}{number}", f"c{number}", 1, price, promo_code=f"{name.lower()}-{number}")
        for name, (uses, price, _, _) in PUBLISHED.items()
        for number in range(uses)
    ]
    sheet = reward_types(shop(lines), window(), HIGH, MEDIUM)

    assert {row[0]: row[3:] for row in sheet.rows} == PUBLISHED
    assert [row[5] for row in sheet.rows] == sorted((row[5] for row in sheet.rows), reverse=True)


def test_the_least_income_of_a_word_has_it() -> None:
    assert [effectiveness(income, HIGH, MEDIUM) for income in (HIGH, HIGH - 1, MEDIUM, MEDIUM - 1)] == [
        "high",
        "medium",
        "medium",
        "low",
    ]


def offer(number: str, kind: str, incentive: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "offer_id": number,
        "kind": kind,
        "product_id": "p",
        "incentive": incentive,
        "list_price": "100.00",
        "final_price": "90.00",
    }


def moment(offset: float) -> Any:
    return START + timedelta(days=offset)


@pytest.fixture(scope="module")
def used() -> Records:
    """ann used ten per cent, bob points and a gift; cid opened; dan used a gift of which no order is known."""
    percent, points, gift = (
        {"type": "percent", "value": "10"},
        {"type": "points", "value": "50"},
        {"type": "gift", "value": "0", "product_id": "p"},
    )
    made = [
        ("d1", "ann", "spring", [offer("o1", "win_back", percent)]),
        ("d2", "bob", "spring", [offer("o2", "for_you", points), offer("o3", "win_back", gift)]),
        ("d3", "cid", "autumn", [offer("o4", "for_you")]),
        ("d4", "dan", None, [offer("o5", "win_back", gift)]),
    ]
    decisions = pa.table(
        {
            "decision_id": [row[0] for row in made],
            "unit_id": [row[1] for row in made],
            "group": ["treated"] * len(made),
            "at": pa.array([moment(1)] * len(made), pa.timestamp("us", "UTC")),
            "campaign": pa.array([row[2] for row in made], pa.string()),
            "slate": [orjson.dumps(row[3]).decode() for row in made],
        }
    )
    redeemed, clicked = "promotion-redeemed", "promotion-clicked"
    told: list[tuple[str, str, str, str, float, dict[str, Any]]] = [
        ("e1", "d1", "o1", redeemed, 2, {"order_id": "1"}),
        ("e2", "d2", "o2", redeemed, 2, {}),
        ("e3", "d2", "o3", redeemed, 2, {"order_id": "3"}),
        ("e4", "d3", "o4", clicked, 3, {}),
        ("e5", "d4", "o5", redeemed, 3, {}),
    ]
    events = pa.table(
        {
            "event_id": [row[0] for row in told],
            "decision_id": [row[1] for row in told],
            "offer_id": [row[2] for row in told],
            "type": [row[3] for row in told],
            "at": pa.array([moment(row[4]) for row in told], pa.timestamp("us", "UTC")),
            "payload": [orjson.dumps(row[5]).decode() for row in told],
        }
    )
    return shop(
        [
            line("0", "ann", 1.5, 70_00),
            line("1", "ann", 2, 90_00, promo_code="NX-ANN"),  # the offer's own code: counted with the offer
            line("2", "bob", 4, 50_00),
            line("3", "bob", 5, 30_00),
            line("4", "cid", 6, 20_00),
        ],
        decisions=decisions,
        events=events,
        segments={"ann": "lost"},
        costs=Costs(contact=Decimal("0.50"), point_value=Decimal("0.01")),
        window_days={"win_back": 14, "for_you": 7},
    )


def test_a_use_is_the_order_it_names_or_else_the_first_of_its_window(used: Records) -> None:
    sheet = reward_types(used, window(0, 30), 60_00, 40_00)

    assert [(row[0], *row[2:]) for row in sheet.rows] == [
        ("percent", "offers", 1, 90_00.0, 90_00, "high"),
        ("points", "offers", 1, 50_00.0, 50_00, "medium"),
        ("gift", "offers", 1, 30_00.0, 30_00, "low"),
    ]
    assert "1 use is left out: its purchase is not known." in sheet.notes


def test_rewards_of_one_kind_and_of_one_segment(used: Records) -> None:
    of_kind = reward_types(used, window(0, 30), 60_00, 40_00, filter=Filter(kind="for_you"))
    of_segment = reward_types(used, window(0, 30), 60_00, 40_00, filter=Filter(segment="lost"))

    assert [row[0] for row in of_kind.rows] == ["points"]
    assert [row[0] for row in of_segment.rows] == ["percent"]


def test_campaigns_show_what_was_sent_opened_used_and_attributed(used: Records) -> None:
    found = attributed(used, window().start, window(0, 60).end)
    told = {row["campaign"]: row for row in campaigns(found).records("EUR")}

    assert set(told) == {"spring", "autumn"}
    assert (told["autumn"]["sent"], told["autumn"]["opened"], told["autumn"]["orders"]) == (1, 1, 1)
    assert (told["autumn"]["revenue"], told["autumn"]["cost"]) == ("20.00", "0.50")
    assert told["autumn"]["roi_attributed"] == (20_00 - 50) / 50
    assert (told["spring"]["sent"], told["spring"]["used"], told["spring"]["orders"]) == (2, 3, 3)


def test_programmes_stand_side_by_side_with_their_terms() -> None:
    records = shop(
        [
            line("1", "ann", 1, 100_00, points_spent=500),
            line("2", "ann", 2, 50_00),
            line("3", "bob", 3, 30_00),
            line("4", "cid", 3, 999_00),
        ],
        [
            person("ann", "club", -5),
            person("bob", "gold", -5),
            person("dan", "gold"),
            person("eve", "gold", 50),
        ],
    )
    terms = {
        "club": ProgrammeTerms(type="points", joining="at the till", accrual="5 %", cost=Decimal("45.00")),
        "paid": ProgrammeTerms(type="paid", cost=Decimal("9.00")),
    }
    sheet = programmes(count(records, window(), Terms(point_value=Decimal(1))), terms)

    assert sheet.rows == (
        ("club", "points", "at the till", "5 %", 1, 0.25, 2, 150_00, 75_00.0, 50_00, 2.0),
        ("paid", "paid", "", "", 0, 0.0, 0, 0, None, 9_00, -1.0),
        ("gold", "", "", "", 2, 0.5, 1, 30_00, 30_00.0, 0, None),
    )


def test_what_is_not_known_is_left_empty() -> None:
    records = shop([line("1", "ann", 1, 1_00)])

    assert programmes(count(records, window()), {}).rows == ()
    assert reward_types(records, window(), HIGH, MEDIUM).rows == ()
