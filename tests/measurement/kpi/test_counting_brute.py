"""The count of the customers against pandas, on shops drawn at random."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.measurement.kpi.shops import START, answer, line, person, shop, window

from nextoffer.measurement.kpi import Filter, count
from nextoffer.measurement.kpi.cohorts import cohorts

IDS = ["a", "b", "c", "d", "e", "f"]


def drawn(seed: int) -> tuple[list[dict], list[dict], list[dict], dict[str, str]]:
    rng = np.random.default_rng(seed)
    lines = []
    for number in range(int(rng.integers(0, 25))):
        who = None if rng.random() < 0.15 else str(rng.choice(IDS))
        at = float(rng.integers(-45, 45))
        for _ in range(int(rng.integers(1, 3))):
            revenue = int(rng.integers(1, 5000)) * (-1 if rng.random() < 0.15 else 1)
            cost = None if rng.random() < 0.3 else revenue // 2
            spent = int(rng.integers(0, 3)) * 50
            code = "X1" if rng.random() < 0.3 else None
            lines.append(
                line(
                    f"o{number}",
                    who,
                    at,
                    revenue,
                    cost,
                    points_spent=spent,
                    promo_code=code,
                    quantity=float(np.sign(revenue)),
                )
            )
    people = [
        person(
            each,
            programme="club" if rng.random() < 0.5 else None,
            joined=float(rng.integers(-50, 50)) if rng.random() < 0.6 else None,
            by=str(rng.choice(IDS)) if rng.random() < 0.5 else None,
        )
        for each in IDS
        if rng.random() < 0.8
    ]
    surveys = [
        answer(
            str(rng.choice(["nps", "csi", "review"])),
            float(rng.integers(0, 11)),
            float(rng.integers(-5, 35)),
            None if rng.random() < 0.3 else str(rng.choice(IDS)),
        )
        for _ in range(int(rng.integers(0, 10)))
    ]
    segments = {each: str(rng.choice(["new", "loyal"])) for each in IDS if rng.random() < 0.7}
    return lines, people, surveys, segments


def by_hand(
    lines: list[dict], people: list[dict], surveys: list[dict], segments: dict[str, str], only: str | None
) -> dict:
    """The same measures the slow way: one customer after the other."""
    span, rows = window(), pd.DataFrame(lines)
    start, end = (pd.Timestamp(moment.replace(tzinfo=None)) for moment in (span.start, span.end))
    if len(rows):
        known = rows["revenue"] - rows["cost"]
        share = (rows["revenue"].abs() * 0.3 + 0.5).apply(np.floor) * np.sign(rows["revenue"])
        rows["margin"] = np.where(rows["cost"].isna(), share, known).astype(float)
        orders = rows.groupby("order_id").agg(
            who=("customer_id", "max"),
            at=("ordered_at", "min"),
            revenue=("revenue", "sum"),
            margin=("margin", "sum"),
            points=("points_spent", "max"),
            code=("promo_code", lambda codes: codes.dropna().max()),
        )
    else:
        orders = pd.DataFrame(columns=["who", "at", "revenue", "margin", "points", "code"])
    named = {row["customer_id"]: row for row in people}
    totals = dict.fromkeys(
        "customers members joined orders revenue margin buyers repeaters repeat_orders buyers_before stayed newcomers "
        "invited customers_so_far revenue_so_far profit_so_far points_orders points_value promo_orders reviews "
        "nps_answers nps_balance".split(),
        0,
    )
    brought, customers = set(), set()
    for who in [*IDS, None]:
        in_segment = only is None or (who is not None and segments.get(who) == only)
        mine = orders[orders["who"].isna()] if who is None else orders[orders["who"] == who]
        sold, ever = mine[(mine["at"] >= start) & (mine["at"] < end)], mine[mine["at"] < end]
        good, good_ever = sold[sold["revenue"] > 0], ever[ever["revenue"] > 0]
        row = named.get(who) if who is not None else None
        joined = None if row is None or row["joined_at"] is None else pd.Timestamp(row["joined_at"])
        waits = (mine["revenue"] > 0).any()  # known before it ever bought?
        is_customer = who is not None and (
            len(good_ever) > 0
            or (row is not None and ((joined is not None and joined < end) or (joined is None and not waits)))
        )
        if is_customer:
            customers.add(who)
        is_new = is_customer and len(good_ever) > 0 and good_ever["at"].min() >= start
        if is_new and row is not None and row["referred_by"] not in (None, who):
            brought.add(row["referred_by"])
        if not in_segment:
            continue
        is_member = (
            is_customer
            and row is not None
            and row["programme"] is not None
            and (joined is None or joined < end)
        )
        earlier = ever[(ever["at"] >= start - (end - start)) & (ever["at"] < start) & (ever["revenue"] > 0)]
        totals["customers"] += is_customer
        totals["members"] += is_member
        totals["joined"] += is_member and joined is not None and joined >= start
        totals["orders"] += len(good)
        totals["revenue"] += sold["revenue"].sum()
        totals["margin"] += sold["margin"].sum()
        totals["points_orders"] += (good["points"] > 0).sum()
        totals["points_value"] += good["points"].sum()
        totals["promo_orders"] += good["code"].notna().sum()
        if who is not None:
            totals["buyers"] += len(good) > 0
            totals["repeaters"] += len(good) > 1
            totals["repeat_orders"] += len(good) - is_new if len(good) else 0
            totals["buyers_before"] += len(earlier) > 0
            totals["stayed"] += len(earlier) > 0 and len(good) > 0
            totals["newcomers"] += is_new
            totals["invited"] += is_new and row is not None and row["referred_by"] not in (None, who)
            totals["customers_so_far"] += len(good_ever) > 0
            if len(good_ever):
                totals["revenue_so_far"] += ever["revenue"].sum()
                totals["profit_so_far"] += ever["margin"].sum() - good_ever["points"].sum()
    for said in surveys:
        who, at = said["customer_id"], pd.Timestamp(said["answered_at"])
        if not start <= at < end or (only is not None and segments.get(who) != only):
            continue
        totals["reviews"] += said["kind"] == "review"
        if said["kind"] == "nps":
            totals["nps_answers"] += 1
            totals["nps_balance"] += 1 if said["score"] >= 9 else -1 if said["score"] <= 6 else 0
    return totals | {
        "referrers": len([who for who in brought & customers if only is None or segments.get(who) == only])
    }


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), only=st.sampled_from([None, "new"]))
def test_every_measure_is_what_one_finds_customer_by_customer(seed: int, only: str | None) -> None:
    rows = drawn(seed)
    with shop(rows[0], rows[1], rows[2], rows[3]) as records:
        got = count(records, window(), filter=Filter(segment=only)).totals

    expected = by_hand(*rows, only)
    assert {name: got[name] for name in expected} == pytest.approx(expected)


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_the_order_of_the_lines_never_changes_a_figure(seed: int) -> None:
    lines, people, surveys, segments = drawn(seed)
    with (
        shop(lines, people, surveys, segments) as one,
        shop(lines[::-1], people[::-1], surveys[::-1], segments) as other,
    ):
        assert count(one, window()).totals == count(other, window()).totals
        assert cohorts(one, window()) == cohorts(other, window())


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_segments_and_those_without_one_add_up_to_the_shop(seed: int) -> None:
    with shop(*drawn(seed)) as records:
        counted = count(records, window())
        parts = [totals for _, totals in counted.by("segment")]

        for name, whole in counted.totals.items():
            assert sum(part[name] for part in parts) == whole, name


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_cohorts_are_what_one_finds_customer_by_customer(seed: int) -> None:
    lines, *rest = drawn(seed)
    with shop(lines, *rest) as records:
        sheet = cohorts(records, window())
    rows = pd.DataFrame([row for row in lines if row["customer_id"] is not None])
    expected: dict[str, tuple[int, list[float | None]]] = {}
    if len(rows):
        orders = rows.groupby("order_id").agg(
            who=("customer_id", "max"), at=("ordered_at", "min"), revenue=("revenue", "sum")
        )
        end = pd.Timestamp(window().end.replace(tzinfo=None))
        orders = orders[(orders["revenue"] > 0) & (orders["at"] < end)]
        orders["month"] = orders["at"].dt.year * 12 + orders["at"].dt.month - 1
        last = end.year * 12 + end.month - 2
        came = orders.groupby("who")["month"].min()
        for month, who in came.groupby(came).groups.items():
            again = [
                len(orders[orders["who"].isin(who) & (orders["month"] == month + later)]["who"].unique())
                / len(who)
                for later in range(1, 13)
            ]
            shares = [share if month + later <= last else None for later, share in enumerate(again, 1)]
            expected[f"{month // 12}-{month % 12 + 1:02d}"] = (len(who), shares)
    assert {row[0]: (row[1], list(row[2:])) for row in sheet.rows} == expected
    assert START.year == 2026  # the days drawn lie in two winters' ends: none is older than twelve months
