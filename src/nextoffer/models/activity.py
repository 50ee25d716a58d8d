"""When and how much each customer ordered, as it was known at any moment: features of who comes back.

One log of orders serves every cut: the past of `days` ago is the same log without the newest orders.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.features.interactions import ShopOrders

Vector = npt.NDArray[np.float64]
YEAR_DAYS = 365
WINDOWS_DAYS = (7, 14, 28, 56, 91, 182, 365)
HALF_LIVES_DAYS = (14, 45, 180)
NAMES = (
    "log_recency",
    "log_first_age",
    "log_orders",
    "log_order_days",
    "log_mean_gap",
    "gap_variation",
    "log_recency_gap_ratio",
    "log_second_recency",
    "log_rate",
    "log_last_gap",
    "log_mean_value",
    "log_last_value",
    "log_recent_value",
    "season",
    *(f"log_orders_{days}" for days in WINDOWS_DAYS),
    *(f"log_decayed_{days}" for days in HALF_LIVES_DAYS),
)


@dataclass(frozen=True, slots=True, eq=False)
class OrderLog:
    """One row per order of a known customer, by customer, newest first.

    Parameters
    ----------
    customer : (n,) row of the customer; age_days : (n,) whole days before now
    value : (n,) net revenue, currency
    since_days : age of the shop's first order
    """

    customer: Ints
    age_days: Ints
    value: Floats
    since_days: int

    def __len__(self) -> int:
        return len(self.customer)


def order_log(orders: ShopOrders, digits: int) -> OrderLog:
    """The orders of known customers; `digits` decimals make revenue a currency."""
    known = np.flatnonzero(orders.customer_row >= 0)
    return log_of(orders.customer_row[known], orders.age_days[known], orders.revenue[known] / 10.0**digits)


def log_of(customer: Ints, age_days: Ints, value: Floats) -> OrderLog:
    """A log from columns in any order, (n,) each."""
    order = np.lexsort((value, age_days, customer))
    return OrderLog(customer[order], age_days[order], value[order], int(age_days.max(initial=0)))


def rewound(log: OrderLog, days: int) -> OrderLog:
    """The log as it stood `days` ago."""
    known = log.age_days >= days
    return OrderLog(
        log.customer[known], log.age_days[known] - days, log.value[known], max(log.since_days - days, 0)
    )


def thinned(log: OrderLog, stride: int, offset: int = 0) -> OrderLog:
    """Only every stride-th customer: those whose row leaves `offset`."""
    kept = log.customer % stride == offset % stride
    return OrderLog(log.customer[kept], log.age_days[kept], log.value[kept], log.since_days)


def sampled(log: OrderLog, at_most: int) -> OrderLog:
    """An even share of the customers, at most so many, numbered anew: 0, 1, 2, …"""
    code = _codes(log.customer)
    n = int(code[-1]) + 1 if len(code) else 0
    every = OrderLog(code, log.age_days, log.value, log.since_days)
    kept = thinned(every, max(-(-n // at_most), 1))
    return OrderLog(_codes(kept.customer), kept.age_days, kept.value, kept.since_days)


def customers_of(log: OrderLog) -> Ints:
    """(n_customers,) rows of the customers with an order, ascending."""
    return log.customer[_starts(log.customer)]


def ordered_after(log: OrderLog, customers: Ints, cut_days: int, days: int) -> Bools:
    """(n_customers,) whether each ordered in the `days` after the moment `cut_days` ago."""
    within = (log.age_days < cut_days) & (log.age_days >= cut_days - days)
    ordered: Bools = np.isin(customers, log.customer[within])
    return ordered


def spent_after(log: OrderLog, customers: Ints, cut_days: int, days: int) -> Vector:
    """(n_customers,) what each (ascending) spent in the `days` after the moment `cut_days` ago, currency."""
    within = (log.age_days < cut_days) & (log.age_days >= cut_days - days) & np.isin(log.customer, customers)
    return _sum(np.searchsorted(customers, log.customer[within]), log.value[within], len(customers))


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """RFM of the customers of a log, (n_customers,) each: what the laws of lifetime.py need."""

    n_order_days: Ints
    recency_days: Ints
    first_age_days: Ints
    n_orders: Ints
    value: Floats


def summarise(log: OrderLog) -> Summary:
    """Summary of the customers in the order of `customers_of`."""
    starts, code = _starts(log.customer), _codes(log.customer)
    n_orders = np.bincount(code)
    return Summary(
        np.bincount(code[_new_days(log)], minlength=len(starts)),
        log.age_days[starts],
        log.age_days[starts + n_orders - 1],
        n_orders,
        _sum(code, log.value, len(starts)),
    )


def features(log: OrderLog, horizon_days: int, now: OrderLog | None = None) -> Floats:
    """(n_customers, n_features) of `NAMES`, rows as `customers_of`; NaN where there is no such thing yet.

    A row depends on the customer's own orders, but for `season`: how busy the shop was in the coming
    `horizon_days` a year ago against that whole year (log ratio; 0 before it is a year old).

    Parameters
    ----------
    now : the log `season` is read from, if not `log` (of which a sample is enough)
    """
    if not len(log):
        return np.zeros((0, len(NAMES)))
    about, code, n = summarise(log), _codes(log.customer), len(_starts(log.customer))
    starts = _starts(log.customer)
    decayed = [_sum(code, 2.0 ** (-log.age_days / days), n) for days in HALF_LIVES_DAYS]
    recent = _sum(code, log.value * 2.0 ** (-log.age_days / HALF_LIVES_DAYS[1]), n) / np.maximum(
        decayed[1], 1e-12
    )
    mean_gap, gap_spread, last_gap = _gaps(log, code, about.n_order_days)
    columns = [
        np.log1p(about.recency_days),
        np.log1p(about.first_age_days),
        np.log(about.n_orders),
        np.log(about.n_order_days),
        np.log1p(mean_gap),
        np.where(about.n_order_days > 2, gap_spread / mean_gap, np.nan),
        np.log((about.recency_days + 1) / (mean_gap + 1)),
        np.log1p(about.recency_days + last_gap),
        np.log(about.n_order_days / (about.first_age_days + 14)),
        np.log1p(last_gap),
        _log_value(about.value / about.n_orders),
        _log_value(log.value[starts]),
        _log_value(recent),
        np.full(n, _season(now or log, horizon_days)),
        *(np.log1p(_sum(code, log.age_days < days, n)) for days in WINDOWS_DAYS),
        *(np.log(column + 1e-3) for column in decayed),
    ]
    return np.column_stack(columns)


def _gaps(log: OrderLog, code: Ints, n_order_days: Ints) -> tuple[Vector, Vector, Vector]:
    """Mean, spread and last of the days between order days; NaN for who ordered on one day."""
    days = np.flatnonzero(_new_days(log))
    owner, age = code[days], log.age_days[days].astype(np.float64)
    same = owner[1:] == owner[:-1]
    owner, gap = owner[1:][same], np.diff(age)[same]
    n, many = len(n_order_days), n_order_days > 1
    times = np.maximum(n_order_days - 1, 1)
    mean = np.where(many, _sum(owner, gap, n) / times, np.nan)
    spread = np.sqrt(np.maximum(_sum(owner, gap**2, n) / times - mean**2, 0.0))
    last = np.full(n, np.nan)
    last[many] = gap[_starts(owner)]
    return mean, spread, last


def _season(log: OrderLog, horizon_days: int) -> float:
    if log.since_days < YEAR_DAYS or horizon_days > YEAR_DAYS:
        return 0.0
    year = log.age_days < YEAR_DAYS
    coming = year & (log.age_days >= YEAR_DAYS - horizon_days)
    return float(np.log((coming.sum() + 1.0) / horizon_days) - np.log((year.sum() + 1.0) / YEAR_DAYS))


def _log_value(value: Floats) -> Vector:
    return np.asarray(np.log1p(np.maximum(value, 0.0)), dtype=np.float64)


def _starts(customer: Ints) -> Ints:
    """Where each customer's run begins."""
    return np.flatnonzero(np.r_[True, customer[1:] != customer[:-1]]) if len(customer) else np.zeros(0, int)


def _codes(customer: Ints) -> Ints:
    """0, 1, 2, … per run."""
    return np.cumsum(np.r_[0, customer[1:] != customer[:-1]]) if len(customer) else np.zeros(0, int)


def _new_days(log: OrderLog) -> Bools:
    """The first row of each day on which a customer ordered."""
    if not len(log):
        return np.zeros(0, dtype=bool)
    changed = (log.customer[1:] != log.customer[:-1]) | (log.age_days[1:] != log.age_days[:-1])
    return np.concatenate([np.ones(1, dtype=bool), changed])


def _sum(code: Ints, values: Floats | Bools, n: int) -> Vector:
    return np.bincount(code, values, minlength=n).astype(np.float64)
