"""Gaps by habit, by timetable and in spells; and what models must make of shops whose rhythm they do not assume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.integrate import cumulative_trapezoid
from scipy.stats import gamma

from nextoffer.errors import ConfigError
from nextoffer.models.activity import OrderLog, customers_of, log_of, ordered_after, rewound, summarise
from nextoffer.models.lapse import fit_lapse, p_order
from nextoffer.models.lifetime import fit_lifetime
from nextoffer.simulation.facts import LineTable, facts, read_lines
from nextoffer.simulation.rhythm import BUSY, QUIET, SPELL_WEEKS, erlang_hazard, pace
from nextoffer.simulation.settings import ShopSettings
from nextoffer.simulation.shop import Shop

SWITCHES: dict[str, dict[str, Any]] = {
    "habit": {},
    "timetable": {"regular_gaps": True},
    "spells": {"bursty": True},
}
DAYS = 28


def history(folder: Path, customers: int, **on: Any) -> LineTable:
    shop = Shop(ShopSettings(customers=customers, products=400, guests=0.0, **on))
    return read_lines(pq.read_table(shop.write_history(folder).orders))


@pytest.mark.parametrize("shape", [1, 2, 6])
def test_the_hazard_of_a_gap_is_that_of_the_gamma_law(shape: int) -> None:
    gap = np.linspace(0.0, 60.0, 20_001)
    hazard = erlang_hazard(shape, np.full(len(gap), 0.1), gap)
    survived = np.exp(-cumulative_trapezoid(hazard, gap, initial=0.0))

    assert np.allclose(survived, gamma.sf(gap, shape, scale=10.0 / shape), atol=1e-5)


def test_spells_keep_the_mean_rate_and_last_ten_weeks() -> None:
    numbers = np.arange(4_000)
    weeks = np.stack([pace(7, numbers, week) for week in range(60)])
    changes = np.diff(weeks, axis=0) != 0

    assert set(np.unique(weeks)) == {BUSY, QUIET} and abs(weeks.mean() - 1.0) < 0.02
    at = changes[:, numbers % 50 == 0].T
    begun = [np.flatnonzero(row) for row in at]
    assert all((np.diff(row) % SPELL_WEEKS == 0).all() for row in begun)
    assert abs(changes.mean() - 2 * 0.3 * 0.7 / SPELL_WEEKS) < 0.005


def test_one_rhythm_at_a_time() -> None:
    with pytest.raises(ConfigError, match="exclude one another"):
        ShopSettings(regular_gaps=True, bursty=True)


def test_gaps_are_as_regular_as_the_switch_says_and_people_buy_as_often(tmp_path: Path) -> None:
    found = {
        name: facts(history(tmp_path / name, 1_200, weeks=60, rate=0.16, **on))
        for name, on in SWITCHES.items()
    }
    within = [found[name]["gap_cv_within"] for name in ("timetable", "habit", "spells")]

    assert within[0] + 0.1 < within[1] < within[2] - 0.05
    for fact in found.values():
        assert abs(fact["gap_median"] / found["habit"]["gap_median"] - 1.0) < 0.25
        assert abs(fact["one_time_share"] - found["habit"]["one_time_share"]) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", SWITCHES)
def test_where_gaps_are_not_what_the_law_assumes_trees_serve_and_chances_stay_calibrated(
    tmp_path: Path, name: str
) -> None:
    """BG/NBD assumes exponential gaps: it falls back, and of those told .3 about three in ten order."""
    log = orders_of(history(tmp_path, 6_000, **SWITCHES[name]))
    past = rewound(log, DAYS)
    about = summarise(past)
    lifetime = fit_lifetime(
        about.n_order_days, about.recency_days, about.first_age_days, about.value / about.n_orders
    )
    lapse = fit_lapse(past, (DAYS,), seed=0)
    p = p_order(lapse, past, lifetime)[:, 0]
    happened = ordered_after(log, customers_of(past), DAYS, DAYS)
    chance, group = lapse.chances[0], np.argsort(np.argsort(p, kind="stable")) * 5 // len(p)

    assert chance.trees is not None and chance.brier_trees < chance.brier_law
    if name == "timetable":  # the further gaps are from exponential, the more the law misses
        assert chance.brier_trees < 0.96 * chance.brier_law
    for place in range(5):
        told, came = p[group == place].mean(), happened[group == place].mean()
        error = np.sqrt(max(came * (1 - came), 0.005) / (group == place).sum())
        assert abs(told - came) < 0.02 + 3 * error, (place, told, came)


def orders_of(lines: LineTable) -> OrderLog:
    """One row per order, aged from the last day."""
    lines = lines.take(lines.quantity > 0)
    _, first, order = np.unique(lines.order, return_index=True, return_inverse=True)
    value = np.bincount(order, lines.quantity * lines.price)
    age = (np.floor(lines.day.max()) - np.floor(lines.day[first])).astype(np.int64)
    return log_of(lines.customer[first], age, value)
