"""Members beside others: matched by hand, against a row-by-row estimate, and where membership does nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.measurement.kpi.shops import line, person, shop, window

from nextoffer.measurement.kpi import count
from nextoffer.measurement.kpi.members import COMPARED, matched, members
from nextoffer.measurement.records import Records


def lively(seed: int, n: int, lift: float = 0.0) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Customers who buy the more the likelier they are members; membership itself adds `lift` orders."""
    rng = np.random.default_rng(seed)
    love = rng.gamma(2.0, 1.0, n)
    joined = rng.random(n) < love / (love + 2.5)
    lines, number = [], 0
    for who in range(n):
        for first, last, mean in ((-300, 0, 3 * love[who]), (0, 30, love[who] + lift * joined[who])):
            for _ in range(rng.poisson(mean)):
                number += 1
                at = float(rng.uniform(first, last))
                lines.append(
                    line(
                        f"o{number}",
                        f"c{who}",
                        at,
                        int(rng.integers(500, 5000)),
                        points_spent=int(rng.random() < 0.2),
                    )
                )
    return lines, [
        person(f"c{who}", "club" if joined[who] else None, -400 if joined[who] else None) for who in range(n)
    ]


def row(sheet: Any, name: str) -> dict[str, Any]:
    return next(each for each in sheet.records("EUR") if each["kpi"] == name)


def test_raw_figures_are_those_of_the_definitions() -> None:
    records = shop(
        [
            line("1", "ann", 1, 30_00),
            line("2", "ann", 2, 10_00),
            line("3", "bob", 3, 5_00),
            line("4", None, 3, 7_00),
        ],
        [person("ann", "club"), person("bob"), person("cid")],
    )
    told = members(count(records, window()))

    assert row(told, "frequency")["members"] == 2 and row(told, "frequency")["others"] == 1
    assert row(told, "conversion")["members"] == 1 and row(told, "conversion")["others"] == 0.5
    assert row(told, "average_order")["change"] == 3.0  # 20.00 against 5.00: guests are neither
    assert row(told, "revenue_per_customer")["matched_members"] is None  # nobody bought before the window


def brute(records: Records, top: str, bottom: str) -> tuple[float, float, float]:
    """Members, others re-weighted to the members' strata, and the error: from one row per customer."""
    counted = count(records, window())
    rows = records.con.execute(f"SELECT * FROM {counted.table} WHERE is_customer").df()
    earlier = records.con.execute(
        "SELECT customer_id, MAX(ordered_at) AS last_at, COUNT(*) AS n, SUM(revenue) AS spent FROM orders "
        "WHERE revenue > 0 AND ordered_at < ? GROUP BY customer_id",
        [window().parameters["start"]],
    ).df()
    both = rows.merge(earlier, on="customer_id")
    bands = 5 if len(both) >= 2_500 else 3 if len(both) >= 540 else 2
    for name in ("last_at", "n", "spent"):
        rank = (both[name].rank(method="min") - 1) / (len(both) - 1)
        both[f"band_{name}"] = np.minimum(np.floor(rank * bands), bands - 1)
    both["stratum"] = both.groupby(["band_last_at", "band_n", "band_spent"]).ngroup()
    sizes = both.groupby(["stratum", "is_member"]).size().unstack(fill_value=0)
    sizes = sizes[(sizes[True] > 0) & (sizes[False] > 0)]
    both = both[both["stratum"].isin(sizes.index)]
    share = sizes[True] / sizes[False]
    both["weight"] = np.where(both["is_member"], 1.0, both["stratum"].map(share))
    figures, variance = {}, 0.0
    for member, part in both.groupby("is_member"):
        below = (part["weight"] * part[bottom]).sum()
        figures[member] = (part["weight"] * part[top]).sum() / below
        part = part.assign(u=part["weight"] * (part[top] - figures[member] * part[bottom]) / below)
        variance += sum(len(u) * u.var(ddof=1) for _, u in part.groupby("stratum")["u"] if len(u) > 1)
    return figures[True], figures[False], float(np.sqrt(variance))


@pytest.fixture(scope="module")
def busy() -> Records:
    return shop(*lively(1, 600))


@pytest.mark.parametrize("name", [each.name for each in COMPARED])
def test_matching_is_what_one_finds_row_by_row(busy: Records, name: str) -> None:
    found = matched(count(busy, window()))
    assert found is not None
    each = next(each for each in COMPARED if each.name == name)
    got = found.difference(each)

    mine, theirs, error = brute(busy, each.top, each.bottom or "")
    assert got == pytest.approx((mine, theirs, mine - theirs, error))


def test_members_who_would_buy_more_anyway_look_better_raw_and_alike_when_matched() -> None:
    told = row(members(count(shop(*lively(2, 3000)), window())), "revenue_per_customer")

    assert told["change"] > 0.4  # love, not membership
    assert abs(told["difference"]) < 0.35 * (told["members"] - told["others"])


def test_matching_comes_nearer_to_what_membership_adds_and_no_nearer_than_its_bands() -> None:
    told = row(members(count(shop(*lively(3, 3000, lift=1.0)), window())), "revenue_per_customer")

    truth = 27.50  # one order more, of 27.50 on average
    assert abs(told["difference"] - truth) < 0.5 * abs(told["members"] - told["others"] - truth)


def test_the_warning_always_stands_there_and_the_experiment_beside() -> None:
    sheet = members(
        count(shop([line("1", "ann", 1, 1_00)], [person("ann", "club")]), window()),
        {"conversion": (0.1, None, 0.2)},
    )

    assert "Members chose to join" in sheet.notes[0]
    told = row(sheet, "conversion")
    assert (told["caused"], told["caused_low"], told["caused_high"]) == (0.1, None, 0.2)
    assert row(sheet, "frequency")["caused"] is None


def test_who_joins_in_the_window_is_matched_with_nobody() -> None:
    records = shop(
        [line(f"{who}{at}", who, at, 1_00) for who in ("ann", "bob", "cid", "dan") for at in (-5.0, 5.0)],
        [person("ann", "club", -9), person("bob", "club", 3), person("cid"), person("dan", "club", 40)],
    )
    found = matched(count(records, window()))

    assert found is not None and found.n.sum(axis=0).tolist() == [2, 1]  # cid and dan, who joins later; ann


def test_customers_alike_fall_into_the_same_stratum() -> None:
    people = [person(f"c{who}", "club" if who % 2 else None, -90 if who % 2 else None) for who in range(40)]
    records = shop([line(f"o{who}", f"c{who}", -5, 1_00) for who in range(40)], people)
    found = matched(count(records, window()))

    assert found is not None and found.n.tolist() == [[20, 20]] and found.n_unmatched == 0
    assert pd.notna(found.sums).all()
