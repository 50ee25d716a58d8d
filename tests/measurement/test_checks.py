"""Checks: what must not be compared is not, and what may be is left in peace."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom, binomtest
from tests.measurement.tables import END, START, assigned, decided, happened, linked, offer, opened

from nextoffer.measurement.checks import Checks, check, ratio_p
from nextoffer.measurement.outcomes import Look, observe

LOOK = Look("e", 1, START, END)
TRIAL = replace(LOOK, window_days=14, kinds=("win_back",))


def checked(look: Look = LOOK, share: float = 0.5, n_altered: int = 0, **tables: Any) -> Checks:
    with opened(**tables) as records:
        return check(records, look, observe(records, look), holdout_share=share, n_altered=n_altered)


def people(n_treated: int, n_holdout: int, **more: Any) -> list[dict[str, Any]]:
    """t0, t1, … treated and h0, h1, … held out."""
    return [
        {"unit_id": f"{group[0]}{number}", "group": group, **more}
        for group, n in (("treated", n_treated), ("holdout", n_holdout))
        for number in range(n)
    ]


def offers(n_treated: int, n_holdout: int, at: float, **more: Any) -> list[dict[str, Any]]:
    """A decision for the first of each group."""
    return [
        {"decision_id": f"{row['unit_id']}@{at}", "at": at, **row, **more}
        for row in people(n_treated, n_holdout)
    ]


def test_groups_as_configured_pass_and_are_told_as_json() -> None:
    got = checked(assignments=assigned(people(95, 5)), share=0.05)

    assert got.blocked is None and got.triggered_blocked is None
    assert (got.n_treated, got.n_holdout, got.split_p) == (95, 5, 1.0)
    assert json.loads(json.dumps(got.to_json()))["n_holdout"] == 5


@pytest.mark.parametrize(("n", "share"), [(40, 0.05), (1000, 0.5), (317, 0.1)])
def test_the_p_of_a_split_is_that_of_the_binomial(n: int, share: float) -> None:
    for held in range(0, n + 1, 7):
        p = ratio_p(n - held, held, share)
        assert p == pytest.approx(min(1.0, 2 * min(binom.cdf(held, n, share), binom.sf(held - 1, n, share))))
        assert p is not None and (p < 0.001) <= (binomtest(held, n, share).pvalue < 0.002)


def test_a_split_of_millions_is_judged_without_trouble() -> None:
    fine, uneven = ratio_p(4_749_700, 250_300, 0.05), ratio_p(4_745_000, 255_000, 0.05)

    assert fine is not None and fine > 0.1
    assert uneven is not None and uneven < 1e-20
    assert ratio_p(10, 0, 0.0) is None


def test_too_many_or_too_few_held_out_block() -> None:
    got = checked(assignments=assigned(people(900, 100)), share=0.05)

    assert (
        got.blocked is not None and "100 of 1,000 customers are held out where 5% were meant" in got.blocked
    )
    assert got.triggered_blocked == got.blocked


def test_nobody_to_compare_with_is_said_and_not_stumbled_over() -> None:
    for rows in ([], people(5, 0), people(0, 5), people(5, 1)):
        got = checked(assignments=assigned(rows))
        assert got.blocked is not None and "nobody to compare with" in got.blocked


def test_altered_assignments_block_before_anything_else() -> None:
    got = checked(assignments=assigned(people(5, 1)), n_altered=3)

    assert got.blocked is not None and got.blocked.startswith("3 assignments are not what was drawn")


def test_a_segment_that_is_held_out_more_often_blocks_though_the_sum_is_right() -> None:
    rows = [
        *people(480, 20, stratum="loyal"),
        *({**row, "unit_id": "x" + row["unit_id"]} for row in people(20, 480, stratum="new")),
    ]

    got = checked(assignments=assigned(rows))

    assert got.split_p == 1.0
    assert got.blocked is not None and "in the segment loyal" in got.blocked


def test_exact_draws_inside_segments_pass() -> None:
    rows = [
        {**row, "unit_id": f"{stratum}{row['unit_id']}"}
        for stratum, n in (("a", 3), ("b", 40), ("c", 1000))
        for row in people(n - round(n / 10), round(n / 10), stratum=stratum)
    ]

    got = checked(assignments=assigned(rows), share=0.1)

    assert got.blocked is None
    assert got.strata_p == 1.0


def test_ghosts_that_are_missing_from_the_first_day_block() -> None:
    tables = {"assignments": assigned(people(500, 500)), "decisions": decided(offers(400, 200, 0.5))}

    got = checked(**tables)

    assert (got.n_exposed_treated, got.n_exposed_holdout) == (400, 200)
    assert got.blocked is not None and got.blocked.startswith(
        "80% of the treated were offered something within a day"
    )


def test_a_difference_that_comes_later_blocks_the_exposed_only() -> None:
    decisions = decided([*offers(200, 200, 0.5), *offers(400, 250, 9)])

    got = checked(assignments=assigned(people(500, 500)), decisions=decisions)

    assert got.blocked is None
    assert got.early_exposure_p == 1.0
    assert got.triggered_blocked is not None and "offers changed who came back" in got.triggered_blocked


def test_a_holdout_that_meets_offers_blocks_above_one_percent() -> None:
    rows = people(200, 200)
    events = [{"unit_id": f"h{n}", "offer_id": "o", "type": "promotion-offered"} for n in range(3)]
    early = {"unit_id": "h9", "offer_id": "o", "at": -1}  # before being assigned

    two = checked(
        assignments=assigned(rows), events=happened([*events[:2], events[0], early, {"unit_id": "t1"}])
    )
    three = checked(assignments=assigned(rows), events=happened(events))

    assert (two.n_contaminated, two.contaminated_share, two.blocked) == (2, 0.01, None)
    assert (
        three.blocked == "1.5% of the holdout met an offer: find out what shows offers to held-out customers."
    )


def test_an_event_that_names_only_a_ghosts_token_is_contamination_too() -> None:
    ghost = {"decision_id": "d", "unit_id": "h1", "group": "holdout"}

    got = checked(
        assignments=assigned(people(20, 20)),
        decisions=decided([ghost]),
        events=happened([{"decision_id": "d"}]),
    )

    assert got.n_contaminated == 1


def test_in_both_groups_counts_as_contaminated_where_held_out() -> None:
    rows = [*people(20, 20), {"unit_id": "v1", "group": "treated"}, {"unit_id": "v2", "group": "holdout"}]

    got = checked(assignments=assigned(rows), identities=linked([("v1", "h1"), ("v2", "t1")]))

    assert (got.n_treated, got.n_holdout) == (20, 20)
    assert (got.n_crossed, got.n_contaminated) == (2, 1)
    assert got.blocked is not None and "5% of the holdout" in got.blocked


def test_a_customer_held_out_of_one_kind_may_be_offered_others() -> None:
    decisions = [
        {"decision_id": "left", "unit_id": "h1", "slate": [offer("for_you", "fy")]},
        {
            "decision_id": "ghost",
            "unit_id": "h1",
            "group": "holdout",
            "withheld_by": "e:1",
            "slate": [offer("win_back", "wb")],
        },
    ]
    tables = {"assignments": assigned(people(20, 20)), "decisions": decided(decisions)}

    other = checked(
        TRIAL, events=happened([{"decision_id": "left", "offer_id": "fy"}, {"decision_id": "left"}]), **tables
    )
    by_token = checked(TRIAL, events=happened([{"decision_id": "ghost"}]), **tables)
    by_offer = checked(TRIAL, events=happened([{"unit_id": "h1", "offer_id": "wb"}]), **tables)
    of_old = checked(
        TRIAL,
        assignments=assigned(people(20, 20)),
        decisions=decided(
            [{"decision_id": "old", "unit_id": "h1", "at": -2, "slate": [offer("win_back", "wb")]}]
        ),
        events=happened([{"decision_id": "old", "offer_id": "wb"}]),
    )
    assert of_old.n_contaminated == 0  # offered before it took part

    assert (other.n_contaminated, by_token.n_contaminated, by_offer.n_contaminated) == (0, 1, 1)


def test_honest_draws_are_hardly_ever_blocked() -> None:
    rng = np.random.default_rng(11)
    held = rng.binomial(2_000, 0.05, size=4_000)

    blocked = sum((ratio_p(2_000 - n, n, 0.05) or 0) < 0.001 for n in held.tolist())

    assert blocked <= 10  # 4 expected at most
