"""Segments: planted clusters come back, names follow the rules, a night's noise changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from nextoffer.domain.arrays import Strings
from nextoffer.domain.tables import SEGMENTS
from nextoffer.errors import TooLittleHistoryError
from nextoffer.models.activity import log_of
from nextoffer.models.segment_names import kept_name, segment_name, segment_table
from nextoffer.models.segment_quality import (
    compare_with_quintiles,
    explained,
    quintile_grid,
    quintiles,
)
from nextoffer.models.segments import (
    LastNight,
    Segments,
    fit_segments,
    last_night,
    predict_segments,
    published_codes,
    segment_codes,
    settled_codes,
)

Columns = tuple[np.ndarray, np.ndarray, np.ndarray]
CENTRES = np.log1p([[3, 30, 5000], [10, 1, 20], [60, 8, 400], [300, 10, 900], [330, 1, 15]])


def shop(n: int = 2000, noise: float = 0.08, seed: int = 1) -> tuple[Columns, np.ndarray]:
    """Customers around five planted centres, far apart, and which centre each is from."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, len(CENTRES), n)
    recency, frequency, monetary = np.expm1(CENTRES[truth] + rng.normal(0, noise, (n, 3))).T
    return (recency, frequency, monetary), truth


def blended(n: int = 3000, seed: int = 2) -> Columns:
    """A shop without gaps between kinds of customers."""
    rng = np.random.default_rng(seed)
    orders = rng.geometric(rng.beta(1, 2, n))
    return rng.exponential(120 / orders**0.5).round(), orders, (orders * rng.lognormal(3, 1, n)).round(2)


def as_bytes(segments: Segments) -> tuple[object, ...]:
    arrays = (segments.mean, segments.scale, segments.centroids, segments.percentiles)
    return (*(array.tobytes() for array in arrays), segments.labels, segments.inertia)


def test_planted_clusters_are_recovered() -> None:
    columns, truth = shop()

    clusters = predict_segments(fit_segments(*columns, seed=0, k=5), *columns)

    pairs = np.unique(np.column_stack([truth, clusters]), axis=0)
    assert len(pairs) == 5 and len(np.unique(clusters)) == 5


def test_planted_clusters_get_the_names_a_marketer_would_give() -> None:
    columns, truth = shop()
    segments = fit_segments(*columns, seed=0, k=5)

    codes = segment_codes(segments, predict_segments(segments, *columns))

    names = [SEGMENTS[int(np.median(codes[truth == planted]))] for planted in range(5)]
    assert names == ["champions", "new", "needs_attention", "at_risk", "lost"]


@pytest.mark.parametrize(
    ("percentiles", "orders", "name"),
    [
        ((0.9, 0.95, 0.95), 20.0, "champions"),
        ((0.9, 0.95, 0.69), 20.0, "loyal"),
        ((0.4, 0.6, 0.1), 5.0, "loyal"),
        ((0.8, 0.3, 0.9), 1.2, "new"),
        ((0.8, 0.4, 0.3), 2.0, "potential_loyalist"),
        ((0.8, 0.39, 0.3), 2.0, "promising"),
        ((0.4, 0.5, 0.9), 3.0, "needs_attention"),
        ((0.399, 0.5, 0.1), 3.0, "at_risk"),
        ((0.1, 0.1, 0.6), 1.0, "at_risk"),
        ((0.1, 0.1, 0.3), 1.0, "hibernating"),
        ((0.1, 0.1, 0.29), 1.0, "lost"),
    ],
)
def test_the_first_rule_that_holds_names_a_cluster(
    percentiles: tuple[float, float, float], orders: float, name: str
) -> None:
    assert segment_name(*percentiles, orders) == name


def test_at_risk_is_only_ever_below_the_40th_recency_percentile() -> None:
    grid = np.linspace(0, 1, 21)

    at_risk = [r for r in grid for f in grid for m in grid if segment_name(r, f, m, 2.0) == "at_risk"]

    assert at_risk and max(at_risk) < 0.40


def test_champions_bought_more_lately_and_more_often_than_the_lost() -> None:
    columns = blended()
    segments = fit_segments(*columns, seed=0)
    codes = segment_codes(segments, predict_segments(segments, *columns))

    table = {row["segment"]: row for row in segment_table(codes, *columns)}

    best, worst = table["champions"], table["lost"]
    assert best["recency_days"]["median"] < worst["recency_days"]["median"]
    assert best["frequency"]["median"] > worst["frequency"]["median"]
    assert best["monetary"]["median"] > worst["monetary"]["median"]


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_customers_and_seed_give_the_same_bytes_on_any_number_of_threads(threads: int) -> None:
    with threadpool_limits(threads):
        again = fit_segments(*blended(), seed=3)

    assert as_bytes(again) == as_bytes(fit_segments(*blended(), seed=3))


@pytest.mark.parametrize(("n", "sample"), [(3000, 500), (3000, 200_000), (25_000, 200_000)])
def test_the_order_of_customers_is_irrelevant(n: int, sample: int) -> None:
    columns = blended(n)
    order = np.random.default_rng(0).permutation(len(columns[0]))
    shuffled = tuple(column[order] for column in columns)

    assert as_bytes(fit_segments(*shuffled, seed=0, sample=sample)) == as_bytes(
        fit_segments(*columns, seed=0, sample=sample)
    )


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_the_size_of_a_batch_changes_nobodys_cluster(batch: int) -> None:
    columns = blended(800)
    segments = fit_segments(*columns, seed=0)

    parts = [
        predict_segments(segments, *(column[start : start + batch] for column in columns))
        for start in range(0, 800, batch)
    ]

    assert np.array_equal(np.concatenate(parts), predict_segments(segments, *columns))


def test_each_customer_goes_to_the_nearest_centroid() -> None:
    columns = blended(300)
    segments = fit_segments(*columns, seed=0)
    logs = np.log(np.column_stack(columns) + np.array([30, 1, 1]))
    scaled = np.clip((logs - segments.mean) / segments.scale, -3, 3)
    gaps = [[np.linalg.norm(row - centroid) for centroid in segments.centroids] for row in scaled]

    assert predict_segments(segments, *columns).tolist() == np.argmin(gaps, axis=1).tolist()


def test_clusters_stay_frozen_while_the_shop_is_the_same() -> None:
    first = fit_segments(*blended(12_000, seed=2), seed=0)

    assert fit_segments(*blended(12_000, seed=5), seed=9, previous=first) is first


def test_a_refit_keeps_the_ids_of_the_old_clusters() -> None:
    columns, truth = shop()
    first = fit_segments(*columns, seed=0, k=5)
    wider, _ = shop(noise=0.16)

    second = fit_segments(*wider, seed=4, k=5, previous=first)

    assert second is not first
    before, after = predict_segments(first, *columns), predict_segments(second, *wider)
    assert all(np.median(before[truth == c]) == np.median(after[truth == c]) for c in range(5))


@pytest.mark.parametrize("n", [1, 2, 7, 20])
def test_tiny_shops_have_no_more_clusters_than_kinds_of_customers(n: int) -> None:
    columns = tuple(column[:n] for column in blended())

    segments = fit_segments(*columns, seed=0)

    kinds = len(np.unique(np.column_stack(columns), axis=0))
    assert 1 <= len(segments.centroids) <= min(10, kinds)
    assert predict_segments(segments, *columns).max() < len(segments.labels)


def test_a_shop_that_grew_from_one_customer_is_fitted_anew() -> None:
    one = fit_segments(np.array([3]), np.array([1]), np.array([9.0]), seed=0)

    grown = fit_segments(*blended(), seed=0, previous=one)

    assert len(one.centroids) == 1 and len(grown.centroids) == 10


def test_identical_customers_share_one_cluster() -> None:
    same = np.full(50, 4), np.full(50, 2), np.full(50, 31.5)

    segments = fit_segments(*same, seed=0)

    assert len(segments.labels) == 1
    assert set(predict_segments(segments, *same).tolist()) == {0}
    assert fit_segments(*same, seed=1, previous=segments) is segments


def test_a_customer_whose_returns_exceed_the_purchases_is_still_placed() -> None:
    recency, frequency, monetary = blended(100)
    monetary[0] = -250.0

    segments = fit_segments(recency, frequency, monetary, seed=0)

    assert 0 <= predict_segments(segments, recency, frequency, monetary)[0] < 10
    assert np.isfinite(segments.centroids).all()


def test_no_customer_at_all_is_one_clear_message() -> None:
    none = np.array([])

    with pytest.raises(TooLittleHistoryError, match="at least 1 customer"):
        fit_segments(none, none, none, seed=0)


def test_quintiles_hold_a_fifth_each_and_equal_values_score_alike() -> None:
    days = np.arange(100)
    orders = np.array([1] * 60 + [2] * 40)

    scores = quintiles(days, orders, days[::-1].astype(float))

    assert np.bincount(scores[:, 0]).tolist() == [0, 20, 20, 20, 20, 20]
    assert scores[0].tolist() == [5, 2, 5] and scores[-1].tolist() == [1, 5, 1]
    assert len(set(scores[:60, 1].tolist())) == 1


def test_the_segment_table_adds_up() -> None:
    codes = np.array([0, 0, 8], dtype=np.int8)

    table = segment_table(codes, np.array([1, 3, 200]), np.array([9, 7, 1]), np.array([60.0, 30.0, 10.0]))

    assert [row["segment"] for row in table] == ["champions", "lost"]
    assert table[0]["customers"] == 2 and table[0]["revenue_share"] == 0.9
    assert table[0]["recency_days"] == {"min": 1.0, "median": 2.0, "max": 3.0}
    assert sum(row["share"] for row in table) == 1.0


@pytest.mark.realdata
@pytest.mark.skipif("NEXTOFFER_REALDATA" not in os.environ, reason="NEXTOFFER_REALDATA is not set")
def test_clusters_tell_more_of_next_quarters_spend_than_the_quintile_grid_on_online_retail() -> None:
    import duckdb

    lines = Path(os.environ["NEXTOFFER_REALDATA"]) / "online_retail" / "online_retail.parquet"
    cut, end = "TIMESTAMP '2011-09-09'", "TIMESTAMP '2011-12-09'"
    query = f"""
        WITH lines AS (
            SELECT CustomerID AS customer, InvoiceNo AS invoice, CAST(InvoiceDate AS TIMESTAMP) AS moment,
                   Quantity > 0 AS bought, Quantity * UnitPrice AS spend
            FROM '{lines}' WHERE CustomerID IS NOT NULL)
        SELECT date_diff('second', max(moment) FILTER (moment < {cut} AND bought), {cut}) // 86400 AS recency,
               count(DISTINCT invoice) FILTER (moment < {cut} AND bought) AS orders,
               CAST(sum(spend) FILTER (moment < {cut}) AS DOUBLE) AS spend,
               CAST(sum(spend) FILTER (moment >= {cut} AND moment < {end} AND bought) AS DOUBLE) AS later
        FROM lines GROUP BY customer HAVING orders > 0 ORDER BY customer"""
    with duckdb.connect() as connection:
        found = connection.sql(query).fetchnumpy()
    columns = found["recency"], found["orders"], found["spend"]
    later = np.log1p(np.maximum(np.nan_to_num(np.ma.filled(found["later"], 0.0)), 0.0))
    segments = fit_segments(*columns, seed=0)

    clusters = explained(later, predict_segments(segments, *columns))
    grid = explained(later, quintile_grid(quintiles(*columns)))

    assert clusters >= 1.2 * grid


def test_a_heavy_buyer_of_long_ago_is_no_champion() -> None:
    rng = np.random.default_rng(5)
    lately, long_ago = rng.integers(1, 20, 400), rng.integers(150, 350, 400)
    recency = np.concatenate([lately, long_ago, [340, 340]])
    frequency = np.concatenate([rng.integers(15, 40, 400), rng.integers(1, 3, 400), [60, 1]])
    monetary = frequency * 50.0
    segments = fit_segments(recency, frequency, monetary, seed=0, k=2)
    clusters = np.concatenate([predict_segments(segments, recency, frequency, monetary)[:-2], [0, 0]])
    champions = segments.labels.index("champions")
    clusters[-2:] = champions  # wherever the nearest centre lies

    published = [SEGMENTS[code] for code in published_codes(segments, clusters, recency, frequency)]

    assert published[-2:] == ["at_risk", "hibernating"]
    assert published[:400] == ["champions"] * 400


def test_clusters_a_month_old_are_fitted_anew_from_where_they_stood() -> None:
    columns, _ = shop()
    first = fit_segments(*columns, seed=0, k=5, day=100)

    assert fit_segments(*columns, seed=0, k=5, previous=first, day=129) is first
    later = fit_segments(*columns, seed=0, k=5, previous=first, day=130)

    assert later.fitted_day == 130
    assert later.labels == first.labels
    assert np.array_equal(predict_segments(first, *columns), predict_segments(later, *columns))


def test_a_cluster_on_the_edge_of_a_rule_keeps_its_name() -> None:
    assert segment_name(0.38, 0.7, 0.5, 3.0) == "at_risk"
    assert kept_name(0.38, 0.7, 0.5, 3.0, before="loyal") == "loyal"
    assert kept_name(0.34, 0.7, 0.5, 3.0, before="loyal") == "at_risk"
    assert kept_name(0.42, 0.7, 0.5, 3.0, before="lost") == "loyal"


def two_clusters() -> Segments:
    """`loyal` at 0 and `lost` at 2 on the axis of log frequency; alike in all else."""
    mean, scale = np.array([np.log(31), 0.0, 0.0]), np.ones(3)
    centroids = np.array([[0.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    return Segments(mean, scale, centroids, np.full((2, 3), 0.5), ("loyal", "lost"), 1.0)


def settled(log_orders: list[float], tonight: list[int], before: LastNight) -> list[int]:
    n = len(log_orders)
    columns = np.full(n, 1.0), np.expm1(log_orders), np.zeros(n)
    return settled_codes(two_clusters(), np.array(tonight, np.int8), before, *columns).tolist()


LOYAL, LOST = SEGMENTS.index("loyal"), SEGMENTS.index("lost")


def test_a_name_changes_only_where_the_new_one_is_clearly_nearer_or_held_two_nights() -> None:
    slightly, clearly = 1.05, 1.9  # 0.95 against 1.05 away, and 0.1 against 1.9

    def last(published: int, candidate: int) -> LastNight:
        return LastNight(*(np.array([code], np.int8) for code in (published, candidate)))

    assert settled([slightly], [LOST], last(LOYAL, LOYAL)) == [LOYAL]
    assert settled([slightly], [LOST], last(LOYAL, LOST)) == [LOST]
    assert settled([clearly], [LOST], last(LOYAL, LOYAL)) == [LOST]
    assert settled([slightly], [LOST], last(-1, -1)) == [LOST]
    gone = SEGMENTS.index("promising")  # a name no cluster has any more
    assert settled([slightly], [LOST], last(gone, gone)) == [LOST]


def test_who_sways_on_a_border_every_night_keeps_one_name() -> None:
    before, names = LastNight(np.array([LOYAL], np.int8), np.array([LOYAL], np.int8)), []
    for night in range(20):
        tonight = LOST if night % 2 == 0 else LOYAL
        published = settled([1.0], [tonight], before)
        names += published
        before = LastNight(np.array(published, np.int8), np.array([tonight], np.int8))

    assert names == [LOYAL] * 20


def test_last_night_is_found_by_id_and_newcomers_have_none() -> None:
    before = last_night(
        Strings.of(["a", "b", "c", "d"]),
        Strings.of(["b", "d", "e"]),
        np.array([1, 2, 3], np.int8),
        np.array([4, 5, 6], np.int8),
    )

    assert before.published.tolist() == [-1, 1, -1, 2]
    assert before.candidate.tolist() == [-1, 4, -1, 5]


def test_eta_squared_is_all_nothing_or_the_share_between_the_groups() -> None:
    values = np.array([1.0, 1.0, 5.0, 5.0])

    assert explained(values, np.array([0, 0, 1, 1])) == pytest.approx(1.0)
    assert explained(values, np.array([0, 1, 0, 1])) == pytest.approx(0.0)
    assert explained(np.array([0.0, 2.0, 4.0, 6.0]), np.array([7, 7, 9, 9])) == pytest.approx(16 / 20)
    assert explained(np.ones(4), np.arange(4)) == 0.0


def test_the_nightly_comparison_uses_only_what_was_known_before_the_spend() -> None:
    rng = np.random.default_rng(0)
    rate = rng.gamma(0.7, 1 / 40.0, 1500)
    count = rng.poisson(rate * 400) + 1
    customer = np.repeat(np.arange(1500), count)
    age = rng.integers(0, 400, len(customer))
    log = log_of(customer, age, rng.lognormal(3, 0.5, len(customer)))
    recency = np.full(1500, 400)
    np.minimum.at(recency, customer, age)
    segments = fit_segments(recency, count, np.bincount(customer, np.ones(len(customer))) * 20.0, seed=0)

    found = compare_with_quintiles(segments, log, 91)

    assert set(found) == {"clusters", "published", "quintiles"}
    assert 0.0 < found["published"] <= found["clusters"] < 1.0
    older = log.age_days >= 91
    assert compare_with_quintiles(segments, log_of(customer[:0], age[:0], age[:0]), 91) == {}
    silent = log_of(log.customer[older], log.age_days[older], log.value[older])
    assert compare_with_quintiles(segments, silent, 91)["clusters"] == 0.0
