"""Members beside others: as they are, and beside others who bought as recently, often and much before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nextoffer.domain.arrays import Floats
from nextoffer.measurement.kpi.counting import Counted, parameters, sold
from nextoffer.measurement.kpi.periods import change
from nextoffer.measurement.kpi.registry import Kpi, kpi
from nextoffer.measurement.sheet import Cell, Column, Sheet
from nextoffer.texts import Said, said, text

COMPARED = tuple(
    kpi(name)
    for name in (
        "conversion",
        "frequency",
        "repeat_share",
        "average_order",
        "revenue_per_customer",
        "margin_per_customer",
        "points_orders",
    )
)
_Z = 1.959963984540054
_COLUMNS = (
    Column("kpi", text("KPI"), "key"),
    Column("heading", text("KPI")),
    Column("members", text("members"), "row"),
    Column("others", text("others"), "row"),
    Column("change", text("members against others"), "change"),
    Column("matched_members", text("members, matched"), "row"),
    Column("matched_others", text("others, matched"), "row"),
    Column("difference", text("difference, matched"), "row"),
    Column("low", text("at least (95%)"), "row"),
    Column("high", text("at most (95%)"), "row"),
    Column("caused", text("caused by the offers (experiment)"), "row"),
    Column("caused_low", text("at least (95%)"), "row"),
    Column("caused_high", text("at most (95%)"), "row"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """Sums of members and of others in each stratum of customers who bought alike before the window.

    Parameters
    ----------
    n : (S, 2) customers: others, members
    sums : (S, 2, C) of each measure
    products : (S, 2, C, C) of each pair of measures
    measures : names of the C measures
    n_unmatched : members in strata without others
    """

    n: Floats
    sums: Floats
    products: Floats
    measures: tuple[str, ...]
    n_unmatched: int

    def difference(self, each: Kpi) -> tuple[float, float, float, float] | None:
        """A KPI of the members, of the others weighted to the members' strata, their difference, its error.

        Post-stratified, strata and their shares taken as given; a ratio is linearised (delta method). None where
        either has nothing below the line.
        """
        top, bottom = (self.measures.index(name) for name in (each.top, each.bottom or ""))
        weights = np.stack([self.n[:, 1] / self.n[:, 0], np.ones(len(self.n))], axis=1)
        figures, variance = [], 0.0
        for arm in (0, 1):
            weight, n = weights[:, arm], self.n[:, arm]
            below = float(weight @ self.sums[:, arm, bottom])
            if below == 0:
                return None
            ratio = float(weight @ self.sums[:, arm, top]) / below
            p = self.products[:, arm]
            total = self.sums[:, arm, top] - ratio * self.sums[:, arm, bottom]
            square = p[:, top, top] - 2 * ratio * p[:, top, bottom] + ratio**2 * p[:, bottom, bottom]
            spread = np.maximum(square - total**2 / n, 0.0) * n / np.maximum(n - 1, 1)
            variance += float(weight**2 @ spread) / below**2
            figures.append(ratio * each.scale)
        others, members = figures
        return members, others, members - others, each.scale * variance**0.5


def members(
    counted: Counted, caused: Mapping[str, tuple[float, float | None, float | None]] | None = None
) -> Sheet:
    """Members and others: raw, and matched on strata of recency, frequency and money before the window.

    Raw: members as of the window's end and all other customers. Matched: of those who ordered before the window,
    members since before it, and others weighted to the members' strata.

    Parameters
    ----------
    caused : what the experiment found, by KPI: difference and interval per customer (money in minor units). It is
        about offers, not about membership, and stands beside as the only figure that is caused
    """
    raw = {key: totals for key, totals in counted.by("is_member", "is_customer")}
    found = matched(counted)
    rows = []
    for each in COMPARED:
        mine, theirs = (each.exact(raw[key]) if key in raw else None for key in ("True", "False"))
        beside = None if found is None else found.difference(each)
        cells: tuple[Cell, ...] = (None,) * 5
        if beside is not None:
            one, other, difference, error = (_rounded(figure) for figure in beside)
            cells = (
                one,
                other,
                difference,
                _rounded(difference - _Z * error),
                _rounded(difference + _Z * error),
            )
        both = [None if figure is None else float(figure) for figure in (mine, theirs)]
        effect = (caused or {}).get(each.name, (None, None, None))
        rows.append((each.name, said(each.heading), *both, change(mine, theirs), *cells, *effect))
    return Sheet(
        name="members",
        title=text("Members and others (counted, not caused)"),
        columns=_COLUMNS,
        rows=tuple(rows),
        notes=(*_notes(found), *counted.filter.notes()),
        formats=tuple(each.format for each in COMPARED),
    )


def matched(counted: Counted) -> Matched | None:
    """Strata with members and others, and the sums of both; None if there is no such stratum."""
    names = tuple(
        sorted({name for each in COMPARED for name in (each.top, each.bottom or "")} & set(counted.known))
    )
    if "members" not in counted.known:
        return None
    pairs = [(a, b) for at, a in enumerate(names) for b in names[at:]]
    sums = ", ".join(f"SUM({name})" for name in names)
    products = ", ".join(f"SUM(CAST({a} AS HUGEINT) * {b})" for a, b in pairs)
    query = _STRATA.format(table=counted.table, orders=sold(counted.filter), sums=sums, products=products)
    rows = counted.records.rows(query, parameters(counted.window, counted.terms, counted.filter))
    strata: dict[int, dict[bool, tuple[int, ...]]] = {}
    for stratum, member, *figures in rows:
        strata.setdefault(stratum, {})[member] = tuple(figures)
    unmatched = sum(arms[True][0] for arms in strata.values() if False not in arms)
    both = [(arms[False], arms[True]) for arms in strata.values() if len(arms) == 2]
    if not both:
        return None
    table = np.array(both, dtype=np.float64)
    n_names = len(names)
    square = np.empty((*table.shape[:2], n_names, n_names))
    for at, (a, b) in enumerate(pairs):
        i, j = names.index(a), names.index(b)
        square[:, :, i, j] = square[:, :, j, i] = table[:, :, 1 + n_names + at]
    return Matched(table[:, :, 0], table[:, :, 1 : 1 + n_names], square, names, unmatched)


def _notes(found: Matched | None) -> list[Said]:
    notes = [
        said(
            "Members chose to join: those who love a shop do, and would buy more without any programme. No matching"
            " takes that away; only an experiment says what is caused."
        )
    ]
    if found is not None:
        n_members, n_others = int(found.n[:, 1].sum()), int(found.n[:, 0].sum())
        notes.append(
            said(
                "Matched: customers who ordered before the window, in groups alike in recency, frequency and money."
                " Members: {members}; others: {others}; groups: {strata}; members without a match: {unmatched}.",
                members=n_members,
                others=n_others,
                strata=len(found.n),
                unmatched=found.n_unmatched,
            )
        )
    return notes


def _rounded(figure: float) -> float:
    return round(figure, 9)


# As many bands of recency, frequency and money (5, 3 or 2 each) as leave about 20 customers in each stratum;
# customers who are alike always fall into the same band.
_STRATA = """
WITH earlier AS (
    SELECT customer_id, MAX(ordered_at) AS last_at, COUNT(*) AS n, SUM(revenue) AS spent
    FROM {orders} WHERE customer_id IS NOT NULL AND revenue > 0 AND ordered_at < $start GROUP BY customer_id
), compared AS (
    SELECT c.*, e.last_at, e.n, e.spent
    FROM {table} AS c JOIN earlier AS e ON e.customer_id = c.customer_id
    WHERE c.is_customer AND NOT (c.is_member AND COALESCE(c.joined_at >= $start, FALSE))
), size AS (
    SELECT CASE WHEN COUNT(*) >= 2500 THEN 5 WHEN COUNT(*) >= 540 THEN 3 ELSE 2 END AS bands FROM compared
), ranked AS (
    SELECT *, percent_rank() OVER (ORDER BY last_at) AS r, percent_rank() OVER (ORDER BY n) AS f,
        percent_rank() OVER (ORDER BY spent) AS m
    FROM compared
), placed AS (
    SELECT ranked.*, CAST(LEAST(FLOOR(r * bands), bands - 1) * 25 + LEAST(FLOOR(f * bands), bands - 1) * 5
        + LEAST(FLOOR(m * bands), bands - 1) AS INTEGER) AS stratum
    FROM ranked, size
)
SELECT stratum, is_member, COUNT(*), {sums}, {products} FROM placed GROUP BY ALL ORDER BY stratum, is_member
"""
