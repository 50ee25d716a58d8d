"""Experiments to be judged, one per call: a pool of real spend split anew, and made-up rare buyers.

A world is called with a generator and gives one trial in which offers do nothing (in `RareBuyers`, unless they
change the shape of baskets). An effect is planted afterwards, by `planted`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Rng = np.random.Generator

BUYING = 0.02  # of made-up customers
LOG_SD = 1.0  # of made-up baskets
GIANT, TIMES = 0.02, 4.0  # one basket in fifty is four times as large: the tail a log-normal lacks
MEAN = 50.0  # of baskets that are not giant
QUARTER = np.timedelta64(91, "D")


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One experiment: (K,) spend of those who have any (or had any before), and who was treated.

    `mean` is that of the population behind both groups, per customer, zeros included.
    """

    values: Floats
    treated: Bools
    n_treated: int
    n_holdout: int
    mean: float
    before: Floats | None = None

    def planted(self, lift: float) -> Trial:
        """The same, the spend of every treated customer multiplied by 1 + lift."""
        return replace(self, values=np.where(self.treated, (1 + lift) * self.values, self.values))


World = Callable[[Rng], Trial]


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Real customers, split at random into groups of fixed sizes.

    Parameters
    ----------
    values, before : (K,) of the customers who have either; `before` None without a past
    n, n_holdout : all customers, and how many of them are held out
    """

    values: Floats
    n: int
    n_holdout: int
    before: Floats | None = None

    @classmethod
    def of(cls, spend: Floats, share: float, before: Floats | None = None) -> Pool:
        """Of every customer's (n,) spend, zeros included."""
        used = spend != 0 if before is None else (spend != 0) | (before != 0)
        past = None if before is None else before[used]
        return cls(spend[used], len(spend), round(share * len(spend)), past)

    def __call__(self, rng: Rng) -> Trial:
        """One split; only customers with a value are drawn, as many as a draw of all would hold."""
        n_valued = len(self.values)
        n_out = rng.hypergeometric(n_valued, self.n - n_valued, self.n_holdout)
        treated = np.ones(n_valued, dtype=np.bool_)
        treated[rng.choice(n_valued, n_out, replace=False, shuffle=False)] = False
        mean = float(self.values.sum()) / self.n
        return Trial(self.values, treated, self.n - self.n_holdout, self.n_holdout, mean, self.before)


@dataclass(frozen=True, slots=True)
class OneOf:
    """A trial of one of several worlds, each as likely."""

    worlds: tuple[World, ...]

    def __call__(self, rng: Rng) -> Trial:
        """Of the world that comes up."""
        return self.worlds[rng.integers(len(self.worlds))](rng)


@dataclass(frozen=True, slots=True)
class RareBuyers:
    """Made-up customers, new in each trial: two in a hundred buy, baskets are log-normal with giants among them.

    `expected` buyers are held out on average. Offers multiply the log-standard deviation of baskets by `wider`
    and leave their mean as it is: an effect on the shape alone.
    """

    expected: int
    share: float = 0.05
    wider: float = 1.0

    @property
    def sizes(self) -> tuple[int, int]:
        """Treated and held out."""
        n_holdout = round(self.expected / BUYING)
        return round(n_holdout * (1 - self.share) / self.share), n_holdout

    def __call__(self, rng: Rng) -> Trial:
        """A trial with customers of its own."""
        n_treated, n_holdout = self.sizes
        bought = int(rng.binomial(n_treated, BUYING)), int(rng.binomial(n_holdout, BUYING))
        spend = [baskets(rng, n, LOG_SD * times) for n, times in zip(bought, (self.wider, 1.0), strict=True)]
        treated = np.repeat([True, False], bought)
        return Trial(np.concatenate(spend), treated, n_treated, n_holdout, BUYING * mean_basket())


def baskets(rng: Rng, n: int, log_sd: float = LOG_SD) -> Floats:
    """(n,) baskets; their mean does not depend on `log_sd`."""
    giant = np.where(rng.random(n) < GIANT, TIMES, 1.0)
    return MEAN * giant * np.exp(log_sd * rng.standard_normal(n) - log_sd**2 / 2)


def mean_basket() -> float:
    """What `baskets` are worth on average."""
    return MEAN * (1 + GIANT * (TIMES - 1))


def hillstrom(data: Path, share: float) -> Pool:
    """Spend in the two weeks after an e-mail was sent to others: the arm without one."""
    import pyarrow.parquet as pq

    columns = pq.read_table(data / "hillstrom/hillstrom.parquet", columns=["segment", "spend"])
    told = columns["segment"].to_numpy(zero_copy_only=False) == "No E-Mail"
    return Pool.of(columns["spend"].to_numpy()[told].astype(np.float64), share)


def online_retail(data: Path, share: float) -> OneOf:
    """Spend of 91 days, with the 91 days before: the three such pairs of quarters since the data begin.

    All known customers who had bought before the quarter; net of returns.
    """
    import pandas as pd

    names = ["CustomerID", "InvoiceDate", "Quantity", "UnitPrice"]
    lines = pd.read_parquet(data / "online_retail/online_retail.parquet", columns=names).dropna()
    lines["spend"] = lines["Quantity"] * lines["UnitPrice"]
    moment = lines["InvoiceDate"].to_numpy()
    first = np.datetime64("2010-12-01")
    pools = []
    for at in (first + QUARTER, first + 2 * QUARTER, first + 3 * QUARTER):
        known = lines.loc[moment < at, "CustomerID"].unique()
        before, after = (
            lines[(moment >= start) & (moment < start + QUARTER)].groupby("CustomerID")["spend"].sum()
            for start in (at - QUARTER, at)
        )
        spend, past = (
            part.reindex(known, fill_value=0.0).to_numpy(dtype=np.float64) for part in (after, before)
        )
        pools.append(Pool.of(spend, share, past))
    return OneOf(tuple(pools))
