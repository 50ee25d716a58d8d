"""Replenishment peers: which pair of customer and product is bought again within the horizon, one score a pair.

References
----------
Bhagat, Muralidharan, Lobzhanidze & Vishwanath (2018), Buy It Again: Modeling Repeat Purchase Recommendations,
KDD: repeat customer probability (RCP), aggregate time distribution (ATD), modified Poisson-Gamma (MPG). The
paper gives densities at a moment; here each is the mass within the horizon, which suits the question asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer[Any]]

MIN_GAPS = 10  # gaps, or repeat customers, a product needs for a law of its own; the shop's stands in
FREQUENCY_PRIOR_DAYS = 30.0  # without it a pair bought yesterday for the first time would lead


@dataclass(frozen=True, slots=True, eq=False)
class PairDays:
    """Every day on which a pair was bought.

    Parameters
    ----------
    product : (n_pairs,) product row, pairs sorted by customer, then product
    pair, age : (n,) pair row and age in days, sorted by pair, the oldest first
    """

    product: Ints
    pair: Ints
    age: Floats

    @classmethod
    def read(cls, folder: Path) -> PairDays:
        """From the feature tables of one cut; pair rows are those of its `pairs` table."""
        import pyarrow.parquet as pq

        table = pq.read_table(
            folder / "purchases.parquet", columns=["customer_row", "product_row", "age_days"]
        )
        table = table.filter(table["customer_row"].is_valid())
        return cls.of(*(table[name].to_numpy() for name in table.column_names))

    @classmethod
    def of(cls, customer: Ints, product: Ints, age: Ints) -> PairDays:
        """From purchase rows in any order."""
        rows = np.unique(np.stack([customer, product, -age.astype(np.int64)], axis=1), axis=0)
        first = np.r_[True, (rows[1:, :2] != rows[:-1, :2]).any(axis=1)]
        return cls(rows[first, 1], np.cumsum(first) - 1, -rows[:, 2].astype(np.float64))

    @property
    def n_days(self) -> Floats:
        """(n_pairs,) days on which the pair was bought."""
        return np.bincount(self.pair, minlength=len(self.product)).astype(np.float64)

    @property
    def first(self) -> Floats:
        """(n_pairs,) age of the first of them."""
        return self.age[np.r_[True, self.pair[1:] != self.pair[:-1]]]

    @property
    def last(self) -> Floats:
        """(n_pairs,) age of the last of them."""
        return self.age[np.r_[self.pair[1:] != self.pair[:-1], True]]

    def gaps(self) -> tuple[Ints, Floats]:
        """Product row and length of every gap between two purchases of a pair."""
        same = self.pair[1:] == self.pair[:-1]
        return self.product[self.pair[1:][same]], (self.age[:-1] - self.age[1:])[same]

    def mean_gap(self) -> Floats:
        """(n_pairs,) mean days between purchases, NaN after one purchase."""
        repeats = self.n_days - 1.0
        return np.where(repeats > 0, (self.first - self.last) / np.maximum(repeats, 1.0), np.nan)


def frequency(days: PairDays) -> Floats:
    """Purchases per day since the first."""
    return days.n_days / (days.first + FREQUENCY_PRIOR_DAYS)


def decay(days: PairDays, half_life_days: float = 90.0) -> Floats:
    """Purchases, each halved for every half-life of its age (90 days did best of 7 … 365 on earlier cuts)."""
    return np.bincount(days.pair, 0.5 ** (days.age / half_life_days), len(days.product))


def mean_gap(days: PairDays, horizon_days: float) -> Floats:
    """Last purchase + the pair's mean gap (bought once: the product's median gap, else the shop's).

    Ranked by the days between that date and the window of the horizon, 0 inside it.
    """
    product, gap = days.gaps()
    usual = _median_of_each(product, gap, int(days.product.max(initial=-1)) + 1)
    own = days.mean_gap()
    ahead = np.where(np.isnan(own), usual[days.product], own) - days.last
    return -np.maximum(np.maximum(-ahead, ahead - horizon_days), 0.0)


def rcp(days: PairDays) -> Floats:
    """(n_pairs,) Q: share of the product's customers who bought it more than once.

    One of five is added to each, which helps both peers that use it: raw, one customer decides of rare products.
    """
    everyone = np.bincount(days.product)
    again = np.bincount(days.product, days.n_days > 1)
    return ((again + 1.0) / (everyone + 5.0))[days.product]


def rcp_atd(days: PairDays, horizon_days: float) -> Floats:
    """RCP × the mass of the product's log-normal law of gaps from now to the horizon."""
    from scipy.stats import norm

    product, gap = days.gaps()
    log_gap, n = np.log(np.maximum(gap, 1.0)), int(days.product.max(initial=-1)) + 1
    count = np.bincount(product, minlength=n)
    mean = np.bincount(product, log_gap, n) / np.maximum(count, 1)
    spread = np.sqrt(np.bincount(product, (log_gap - mean[product]) ** 2, n) / np.maximum(count, 1))
    few = count < MIN_GAPS
    mean = np.where(few, log_gap.mean() if len(gap) else np.log(365.0), mean)[days.product]
    spread = np.where(few, log_gap.std() if len(gap) else 1.0, spread)[days.product]
    edges = [np.log(np.maximum(days.last + ahead, 1e-9)) for ahead in (0.0, horizon_days)]
    before, after = (norm.cdf((edge - mean) / np.maximum(spread, 0.1)) for edge in edges)
    return rcp(days) * (after - before)


def modified_poisson_gamma(days: PairDays, horizon_days: float) -> Floats:
    """RCP × P(at least one purchase within the horizon) at the rate λ of the modified Poisson-Gamma law.

    With k purchases, mean gap m, s days since the last: λ = (k + α) / (span + 2 |m − s| + β) while s < 2 m,
    (k + α) / (days since the first + β) after that and for pairs bought once. α, β of the product are fitted to
    the rates of its repeat customers.
    """
    shape, rate = _gamma_of_each(days)
    gap, span = days.mean_gap(), days.first - days.last
    recent = days.last < 2.0 * gap  # False where the gap is not known
    exposure = np.where(recent, span + 2.0 * np.abs(np.nan_to_num(gap) - days.last), days.first)
    expected = (days.n_days + shape) / (exposure + rate)
    return rcp(days) * -np.expm1(-expected * horizon_days)


def _gamma_of_each(days: PairDays) -> tuple[Floats, Floats]:
    """(n_pairs,) shape and rate of each pair's product: Minka's (2002) closed form of the likeliest Gamma law."""
    repeat = (days.n_days > 1) & (days.first > 0)
    product, n = days.product[repeat], int(days.product.max(initial=-1)) + 1
    rates = (days.n_days[repeat] - 1.0) / days.first[repeat]
    count = np.bincount(product, minlength=n)
    few = count < MIN_GAPS
    mean = np.bincount(product, rates, n) / np.maximum(count, 1)
    log_mean = np.bincount(product, np.log(rates), n) / np.maximum(count, 1)
    shop = (rates.mean(), np.log(rates).mean()) if len(rates) else (0.01, np.log(0.01) - 0.5)
    mean, log_mean = np.where(few, shop[0], mean), np.where(few, shop[1], log_mean)
    gap = np.maximum(np.log(mean) - log_mean, 1e-3)
    shape = (3.0 - gap + np.sqrt((gap - 3.0) ** 2 + 24.0 * gap)) / (12.0 * gap)
    return shape[days.product], (shape / mean)[days.product]


def _median_of_each(group: Ints, value: Floats, n: int) -> Floats:
    """(n,) median of each group's values; the median of all where a group has none, 365 where there are none."""
    order = np.lexsort((value, group))
    value, count = value[order], np.bincount(group, minlength=n)
    start = np.cumsum(count) - count
    if not len(value):
        return np.full(n, 365.0)
    low = value[np.minimum(start + np.maximum(count - 1, 0) // 2, len(value) - 1)]
    high = value[np.minimum(start + count // 2, len(value) - 1)]
    return np.where(count > 0, (low + high) / 2.0, np.median(value))
