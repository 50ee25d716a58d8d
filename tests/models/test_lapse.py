"""Lapse: the log rewound, features against brute force, planted truths, data too small to teach anything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextoffer.features.interactions import ShopOrders
from nextoffer.models.activity import (
    NAMES,
    OrderLog,
    customers_of,
    features,
    log_of,
    order_log,
    ordered_after,
    rewound,
    sampled,
    spent_after,
    summarise,
    thinned,
)
from nextoffer.models.calibration import Calibration
from nextoffer.models.lapse import NO_CHANGE, Chance, Lapse, expected_value, fit_lapse, p_order, rate_ratio
from nextoffer.models.lifetime import Lifetime, buys_within, fit_lifetime
from nextoffer.models.order_value import margin_shares

DAYS = (28, 90, 180)


def lifetime_of(log: OrderLog) -> Lifetime:
    about = summarise(log)
    ages = (about.n_order_days, about.recency_days, about.first_age_days)
    return fit_lifetime(*ages, about.value / np.maximum(about.n_orders, 1))


def chances(log: OrderLog, days: tuple[int, ...] = DAYS) -> np.ndarray:
    return p_order(fit_lapse(log, days, seed=0), log, lifetime_of(log))


def random_log(n_customers: int = 300, n_orders: int = 2000, span: int = 400, seed: int = 0) -> OrderLog:
    rng = np.random.default_rng(seed)
    customer = rng.integers(0, n_customers, n_orders)
    return log_of(customer, rng.integers(0, span, n_orders), rng.lognormal(3, 1, n_orders))


def yearly_log(n: int = 3000, years: int = 5, seed: int = 1) -> OrderLog:
    """Customers who order once a year, each in a season of their own: no purchase law knows a calendar."""
    rng = np.random.default_rng(seed)
    season = rng.integers(0, 365, n)
    when = season[:, None] + 365 * np.arange(years) + rng.integers(-5, 6, (n, years))
    kept = (rng.random((n, years)) < 0.8) & (when >= 0)
    customer = np.repeat(np.arange(n), years).reshape(n, years)
    return log_of(customer[kept], when[kept], np.full(kept.sum(), 20.0))


def poisson_log(n: int = 4000, days: int = 500, seed: int = 2) -> OrderLog:
    """Customers with a constant rate of their own, all there from the first day: exactly NBD."""
    rng = np.random.default_rng(seed)
    count = rng.poisson(rng.gamma(0.8, 1 / 60.0, n) * days)
    customer = np.repeat(np.arange(n), count)
    return log_of(customer, rng.integers(0, days, len(customer)), np.full(len(customer), 10.0))


def test_features_are_what_a_loop_over_customers_finds() -> None:
    log = random_log(40, 150)
    got = dict(zip(NAMES, features(log, 28).T, strict=True))

    for row, customer in enumerate(customers_of(log)):
        mine = log.customer == customer
        age, value = log.age_days[mine], log.value[mine]
        days = np.unique(age)
        gaps = np.diff(days)
        assert got["log_recency"][row] == pytest.approx(np.log1p(days[0]))
        assert got["log_first_age"][row] == pytest.approx(np.log1p(days[-1]))
        assert got["log_orders"][row] == pytest.approx(np.log(len(age)))
        assert got["log_order_days"][row] == pytest.approx(np.log(len(days)))
        mean = np.log1p(gaps.mean()) if len(gaps) else np.nan
        assert got["log_mean_gap"][row] == pytest.approx(mean, nan_ok=True)
        spread = gaps.std() / gaps.mean() if len(gaps) > 1 else np.nan
        assert got["gap_variation"][row] == pytest.approx(spread, nan_ok=True, abs=1e-6)
        second = np.log1p(days[1]) if len(gaps) else np.nan
        assert got["log_second_recency"][row] == pytest.approx(second, nan_ok=True)
        assert got["log_mean_value"][row] == pytest.approx(np.log1p(value.mean()))
        assert got["log_orders_56"][row] == pytest.approx(np.log1p((age < 56).sum()))
        assert got["log_decayed_45"][row] == pytest.approx(np.log((2.0 ** (-age / 45)).sum() + 1e-3))
        weight = 2.0 ** (-age / 45)
        assert got["log_recent_value"][row] == pytest.approx(np.log1p((weight * value).sum() / weight.sum()))


def test_the_season_is_the_coming_days_of_last_year_against_all_of_it() -> None:
    busy = log_of(np.arange(100), np.r_[np.full(50, 350), np.arange(50) * 6], np.ones(100))
    older = log_of(np.r_[busy.customer, 7], np.r_[busy.age_days, 400], np.ones(101))

    assert features(busy, 28)[0, NAMES.index("season")] == 0.0
    assert features(older, 28)[0, NAMES.index("season")] == pytest.approx(
        np.log(51 / 28) - np.log(101 / 365), abs=0.02
    )


@settings(max_examples=40)
@given(cut=st.integers(0, 420), seed=st.integers(0, 5))
def test_a_rewound_log_is_the_log_of_that_day(cut: int, seed: int) -> None:
    log = random_log(seed=seed, n_orders=300)
    older = log.age_days >= cut

    past = rewound(log, cut)
    made = log_of(log.customer[older], log.age_days[older] - cut, log.value[older])

    assert np.array_equal(past.customer, made.customer)
    assert np.array_equal(past.age_days, made.age_days)
    assert np.array_equal(features(past, 28), features(made, 28), equal_nan=True)


def test_nothing_after_the_cut_reaches_a_feature() -> None:
    log = random_log()
    newest = log.age_days < 60
    shuffled = log_of(log.customer, np.where(newest, 59 - log.age_days, log.age_days), log.value)

    before = features(rewound(log, 60), 28)

    assert np.array_equal(before, features(rewound(shuffled, 60), 28), equal_nan=True)


def test_labels_and_spend_are_those_of_the_window() -> None:
    log = log_of(np.array([3, 3, 5, 9]), np.array([10, 40, 12, 28]), np.array([1.0, 2.0, 4.0, 8.0]))
    customers = customers_of(rewound(log, 28))

    assert customers.tolist() == [3, 9]
    assert ordered_after(log, customers, 28, 28).tolist() == [True, False]
    assert ordered_after(log, customers, 28, 10).tolist() == [False, False]
    assert spent_after(log, customers, 28, 28).tolist() == [1.0, 0.0]
    assert spent_after(log, customers, 41, 41).tolist() == [3.0, 8.0]


def test_guests_are_no_customers() -> None:
    orders = ShopOrders(
        *(np.array(column, dtype=np.int32) for column in ([1, -1, 0], [5, 6, 7], [1, 1, 1])),
        revenue=np.array([250, 999, 100]),
        order_rank=np.array([1, 0, 1], dtype=np.int32),
    )

    log = order_log(orders, digits=2)

    assert (log.customer.tolist(), log.value.tolist()) == ([0, 1], [1.0, 2.5])


def test_a_sample_is_numbered_anew_and_even() -> None:
    log = random_log(90, 2000)

    few = sampled(log, 30)

    assert customers_of(few).tolist() == list(range(30))
    first = np.unique(log.customer)[::3]
    assert np.array_equal(summarise(few).n_orders, summarise(thinned(log, 3)).n_orders)
    assert len(first) == 30


def test_where_customers_follow_the_calendar_trees_replace_the_law() -> None:
    whole = yearly_log()
    log = rewound(whole, 28)
    taught = fit_lapse(log, (28,), seed=0)
    happened = ordered_after(whole, customers_of(log), 28, 28)

    p = p_order(taught, log, lifetime_of(log))[:, 0]

    about = summarise(log)
    law = buys_within(lifetime_of(log), about.n_order_days, about.recency_days, about.first_age_days, 28)
    assert taught.chances[0].trees is not None
    assert ((p - happened) ** 2).mean() < 0.7 * ((law - happened) ** 2).mean()
    assert taught.chances[0].to_json()["method"] == "trees"


def test_where_the_law_is_the_truth_nothing_is_lost_and_the_promise_is_kept() -> None:
    whole = poisson_log()
    log = rewound(whole, 28)
    happened = ordered_after(whole, customers_of(log), 28, 28)
    about = summarise(log)

    p = chances(log, (28,))[:, 0]

    law = buys_within(lifetime_of(log), about.n_order_days, about.recency_days, about.first_age_days, 28)
    assert ((p - happened) ** 2).mean() < 1.02 * ((law - happened) ** 2).mean()
    assert p.mean() == pytest.approx(happened.mean(), abs=0.02)


def test_a_longer_horizon_is_never_less_likely_and_nobody_is_certain() -> None:
    p = chances(random_log(400, 3000))

    assert p.dtype == np.float32 and p.shape[1] == 3
    assert (np.diff(p, axis=1) >= 0).all()
    assert ((p > 0) & (p < 1)).all()


def test_the_same_orders_in_another_order_give_the_same_chances() -> None:
    log = random_log(400, 3000)
    order = np.random.default_rng(5).permutation(len(log))
    shuffled = log_of(log.customer[order], log.age_days[order], log.value[order])

    assert np.array_equal(chances(log), chances(shuffled))


def test_a_chance_does_not_depend_on_who_else_is_asked_about() -> None:
    log = random_log(400, 4000, span=300)
    taught, lifetime = fit_lapse(log, DAYS, seed=0), lifetime_of(log)
    whole = p_order(taught, log, lifetime)

    part = p_order(taught, thinned(log, 7, 3), lifetime)

    assert np.array_equal(part, whole[np.flatnonzero(customers_of(log) % 7 == 3)])


def test_without_labels_for_a_long_horizon_the_short_ones_correction_is_carried_over_and_said_so() -> None:
    log = random_log(400, 3000, span=120)

    taught = fit_lapse(log, DAYS, seed=0)

    assert taught.days == DAYS
    assert [chance.calibrated_days for chance in taught.chances] == [28, 90, 90]
    assert taught.chances[2].trees is None
    assert taught.chances[2].calibration == taught.chances[1].calibration
    assert "trees" not in taught.chances[2].to_json()["brier"]


def test_calibration_moves_what_the_law_says() -> None:
    log = random_log(50, 200)
    plain = Lapse((Chance(28, None, NO_CHANGE, 0),))
    moved = Lapse((Chance(28, None, Calibration(1.0, 1.0), 28),))

    low, high = (p_order(lapse, log, lifetime_of(log))[:, 0].astype(float) for lapse in (plain, moved))

    assert np.log(high / (1 - high)) - np.log(low / (1 - low)) == pytest.approx(1.0, abs=1e-3)


def test_money_follows_the_rate_behind_the_calibrated_chance() -> None:
    rate, law = np.array([0.2, 1.0, 0.5]), np.array([0.1, 1.0, 1.0])

    assert rate_ratio(1 - np.exp(-rate), 1 - np.exp(-law)) == pytest.approx([2.0, 1.0, 0.5])
    assert rate_ratio(np.array([0.999999]), np.array([1e-6])) == pytest.approx([10.0])


def test_what_is_expected_is_what_comes_where_the_law_holds() -> None:
    whole = poisson_log()
    log = rewound(whole, 90)
    taught, lifetime = fit_lapse(log, (28, 90), seed=0), lifetime_of(log)
    came = spent_after(whole, customers_of(log), 90, 90)

    value = expected_value(taught, p_order(taught, log, lifetime), log, lifetime, 90)

    assert value.sum() == pytest.approx(came.sum(), rel=0.05)
    ranks = np.argsort(np.argsort(-value))
    assert came[ranks < len(value) // 5].sum() > 0.4 * came.sum()  # twice their share


def test_beyond_the_longest_horizon_the_law_alone_says_what_a_customer_is_worth() -> None:
    log = random_log()
    moved = Lapse((Chance(28, None, Calibration(1.0, 1.0), 28),))
    plain = Lapse((Chance(28, None, NO_CHANGE, 0),))
    lifetime = lifetime_of(log)

    def worth(lapse: Lapse, days: int) -> np.ndarray:
        return expected_value(lapse, p_order(lapse, log, lifetime), log, lifetime, days)

    assert np.array_equal(worth(moved, 365), worth(plain, 365))
    assert (worth(moved, 28) > worth(plain, 28)).all()


def test_a_margin_is_the_customers_own_moved_halfway_to_the_shops_by_usual_spend() -> None:
    customer, revenue = np.array([0, 0, 1, 2]), np.array([100, 100, 200, 50])
    share = np.array([0.2, 0.4, 0.5, np.nan])

    got = margin_shares(customer, revenue, share, 4)

    shop = 0.4  # 160 of 400; the usual spend is 200
    assert got == pytest.approx([(0.3 + shop) / 2, (0.5 + shop) / 2, shop, shop])
    assert margin_shares(customer[:0], revenue[:0], share[:0], 2).tolist() == [0.0, 0.0]


TINY = {
    "no order at all": log_of(np.zeros(0, int), np.zeros(0, int), np.zeros(0)),
    "one customer": log_of(np.zeros(1, int), np.array([3]), np.array([9.0])),
    "three days of history": log_of(np.arange(200), np.arange(200) % 3, np.full(200, 5.0)),
    "every order identical": log_of(np.arange(500), np.full(500, 100), np.full(500, 5.0)),
    "everybody weekly": log_of(np.repeat(np.arange(80), 60), np.tile(np.arange(60) * 7, 80), np.ones(4800)),
    "a till account": log_of(
        np.r_[np.zeros(200_000, int), np.arange(1, 300)],
        np.r_[np.arange(200_000) % 700, np.arange(299)],
        np.ones(200_299),
    ),
    "returns outweigh purchases": log_of(np.arange(90) % 30, np.arange(90) * 4, np.full(90, -7.0)),
}


@pytest.mark.parametrize("kind", TINY)
def test_whatever_the_shop_every_customer_gets_a_chance(kind: str) -> None:
    log = TINY[kind]

    p = chances(log)

    assert p.shape == (len(customers_of(log)), 3)
    assert ((p > 0) & (p < 1)).all() and (np.diff(p, axis=1) >= 0).all()
