"""Before and after joining the programme, beside customers who never joined, over the same calendar days."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nextoffer.domain.arrays import Floats, Ints
from nextoffer.measurement.kpi.counting import Filter, Terms, parameters, sold
from nextoffer.measurement.kpi.windows import Window
from nextoffer.measurement.records import Records
from nextoffer.measurement.sheet import Cell, Column, Format, Sheet
from nextoffer.texts import Said, said, text

_Z = 1.959963984540054
_FIGURES: tuple[tuple[str, str, Format], ...] = (
    ("orders", text("orders per customer"), "number"),
    ("revenue", text("revenue per customer"), "average"),
    ("margin", text("margin per customer"), "average"),
)
_COLUMNS = (
    Column("kpi", text("KPI"), "key"),
    Column("heading", text("KPI")),
    Column("before", text("members before"), "row"),
    Column("after", text("members after"), "row"),
    Column("others_before", text("others, same days before"), "row"),
    Column("others_after", text("others, same days after"), "row"),
    Column("difference", text("difference in differences"), "row"),
    Column("low", text("at least (95%)"), "row"),
    Column("high", text("at most (95%)"), "row"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Customers who joined, with whole windows before and after, and those who never joined.

    Parameters
    ----------
    means : (4, 3) members before, members after, others before, others after × orders, revenue and margin per
        customer; of others each day of joining weighs as many members joined on it
    error : (3,) standard error of the difference in differences, clustered by customer
    n_members, n_others : customers compared
    left_out : members whose days after are not over; who were no customers when their days before began; on
        whose day nobody else was there to be held against
    """

    means: Floats
    error: Floats
    n_members: int
    n_others: int
    left_out: tuple[int, int, int]

    @property
    def difference(self) -> Floats:
        """(3,) what members changed more than others."""
        before, after, others_before, others_after = self.means
        gained: Floats = after - before - (others_after - others_before)
        return gained


def joining(
    records: Records,
    window: Window,
    days: int = 91,
    terms: Terms | None = None,
    filter: Filter | None = None,
) -> Sheet:
    """What members bought in the `days` before and after they joined, and what others did on the same days.

    Members whose days after ended in the window; who joined later is left out and counted. The day of joining counts
    on neither side, as one often joins at the till. Others never joined. Both were customers before the days before
    began. Days are the shop's.
    """
    terms, filter = terms or Terms(), filter or Filter()
    found = joined(records, window, days, terms, filter)
    shown = _FIGURES if found.n_members else ()
    return Sheet(
        name="joining",
        title=text("Before and after joining the programme (counted, not caused)"),
        columns=_COLUMNS,
        rows=tuple(_row(found, at) for at in range(len(shown))),
        notes=(*_notes(found, days), *filter.notes()),
        formats=tuple(each for _, _, each in shown),
    )


def joined(records: Records, window: Window, days: int, terms: Terms, filter: Filter) -> Joined:
    """The means and errors behind `joining`.

    Others' sums for each day of joining are running sums over days, so that each of their orders is read twice
    however many members joined.
    """
    asked = {**parameters(window, terms, filter), "days": days}
    for query in (_SOLD, *_PEOPLE, _OTHERS_SOLD):
        records.rows(query.format(orders=sold(filter)), asked)
    try:
        late, new, alone = records.row(_LEFT_OUT, asked)
        per_day = _columns(records, _MEMBERS, asked, 11)
        if len(per_day) == 0:
            return Joined(np.zeros((4, 3)), np.zeros(3), 0, 0, (late, new, alone))
        return _compared(records, asked, per_day, (late, new, alone))
    finally:
        for name in ("sold_on", "joiners", "others", "others_sold"):
            records.con.execute(f"DROP TABLE IF EXISTS {name}")


def _compared(
    records: Records, asked: dict[str, object], per_day: Floats, left_out: tuple[int, int, int]
) -> Joined:
    """`per_day` : (D, 11) day of joining, members, their sums before (3) and after (3), squares of the gain (3)."""
    first, last = int(per_day[0, 0]), int(per_day[-1, 0])
    n_days = last - first + 1
    at = per_day[:, 0].astype(np.int64) - first
    joined_on, total = per_day[:, 1], float(per_day[:, 1].sum())
    there = _running(_columns(records, _OTHERS_THERE, asked, 2), first, n_days)[at, 0]
    others = _running(_columns(records, _OTHERS_MOVED, asked, 7), first, n_days)[at] / there[:, None]
    weight = joined_on / total
    means = np.vstack([per_day[:, 2:8].sum(axis=0).reshape(2, 3) / total, (weight @ others).reshape(2, 3)])
    gain = others[:, 3:] - others[:, :3]  # (D, 3)
    found = Joined(means, np.zeros(3), int(total), int(there.max()), left_out)
    middle = gain + found.difference
    sums = per_day[:, 5:8] - per_day[:, 2:5]
    squares = (per_day[:, 8:] - 2 * middle * sums + middle**2 * joined_on[:, None]).sum(axis=0)
    spread = np.maximum(squares, 0.0) / max(total - 1, 1) / total
    error = np.sqrt(spread + _others_spread(records, asked, first, n_days, at, weight / there, gain))
    return replace(found, error=error)


def _others_spread(
    records: Records, asked: dict[str, object], first: int, n_days: int, at: Ints, share: Floats, gain: Floats
) -> Floats:
    """(3,) variance of the others' part: each customer's influence on the weighted mean gain, squared and summed."""
    shares, gains = np.zeros(n_days + 1), np.zeros((n_days + 1, 3))
    shares[at + 1], gains[at] = share, share[:, None] * gain
    running = np.cumsum(shares)  # [k] = of the days before first + k
    left = np.cumsum(gains[::-1], axis=0)[::-1]  # [k] = from day first + k on
    lists = {"running": running.tolist()} | {f"left_{k}": left[:, k].tolist() for k in range(3)}
    found = records.row(_OTHERS_SPREAD, {**asked, "first": first, "n_days": n_days, **lists})
    return np.array([figure or 0.0 for figure in found])


def _running(moves: Floats, first: int, n_days: int) -> Floats:
    """(n_days, C) running sums, from day `first`, of (day, C changes)."""
    found = np.zeros((n_days + 1, moves.shape[1] - 1))
    np.add.at(found, np.clip(moves[:, 0].astype(np.int64) - first, 0, n_days), moves[:, 1:])
    sums: Floats = np.cumsum(found, axis=0)[:n_days]
    return sums


def _columns(records: Records, query: str, asked: dict[str, object], n_columns: int) -> Floats:
    """The rows of a query of numbers, (n, C)."""
    rows = records.rows(query, asked)
    return np.array(rows, dtype=np.float64).reshape(len(rows), n_columns)


def _row(found: Joined, at: int) -> tuple[Cell, ...]:
    name, heading, _ = _FIGURES[at]
    difference, half = float(found.difference[at]), _Z * float(found.error[at])
    figures = (*found.means[:, at].tolist(), difference, difference - half, difference + half)
    return (name, said(heading), *(round(figure, 9) for figure in figures))


def _notes(found: Joined, days: int) -> tuple[Said, ...]:
    late, new, alone = found.left_out
    return (
        said(
            "Members: {members}; customers who never joined: {others}; days before and after the day of joining:"
            " {days}.",
            members=found.n_members,
            others=found.n_others,
            days=days,
        ),
        said(
            "Members left out: their days after are not over: {late}; they were no customers yet when their days"
            " before began: {new}; there was nobody to be held against: {alone}.",
            late=late,
            new=new,
            alone=alone,
        ),
        said(
            "Customers join when they are about to buy more: even this difference is not what the programme caused."
        ),
    )


_DAY = "date_diff('day', DATE '1970-01-01', CAST(timezone($zone, timezone('UTC', {0})) AS DATE))"
_SOLD = f"""
CREATE OR REPLACE TEMP TABLE sold_on AS
SELECT o.customer_id, {_DAY.format("o.ordered_at")} AS day, COUNT(*) FILTER (WHERE o.revenue > 0) AS orders,
    CAST(SUM(o.revenue) AS BIGINT) AS revenue, CAST(SUM(o.margin) AS BIGINT) AS margin
FROM {{orders}} AS o LEFT JOIN segments AS s ON s.customer_id = o.customer_id
WHERE o.customer_id IS NOT NULL AND o.ordered_at < $end AND ($segment IS NULL OR s.segment = $segment)
GROUP BY ALL
"""
# `since`: the first day of joining that leaves a customer's whole window before it.
_PEOPLE = (
    f"""
CREATE OR REPLACE TEMP TABLE others AS
WITH began AS (
    SELECT customer_id, MIN(day) + $days + 1 AS since FROM sold_on WHERE orders > 0 GROUP BY customer_id
)
SELECT b.customer_id, b.since, {_DAY.format("p.joined_at")} AS joined_on, NULLIF(p.programme, '') AS programme,
    p.joined_at < $end AND p.programme <> ''
        AND {_DAY.format("p.joined_at")} + $days >= {_DAY.format("CAST($start AS TIMESTAMP)")} AS is_joiner
FROM began AS b FULL JOIN people AS p ON p.customer_id = b.customer_id
""",
    f"""
CREATE OR REPLACE TEMP TABLE joiners AS
SELECT customer_id, joined_on, CASE
        WHEN joined_on + $days >= {_DAY.format("CAST($end AS TIMESTAMP)")} THEN 'late'
        WHEN since IS NULL OR joined_on < since THEN 'new'
        WHEN joined_on < COALESCE((SELECT MIN(since) FROM others WHERE programme IS NULL AND joined_on IS NULL),
            joined_on + 1) THEN 'alone'
        ELSE 'compared' END AS place
FROM others WHERE is_joiner
""",
    "DELETE FROM others WHERE programme IS NOT NULL OR joined_on IS NOT NULL OR since IS NULL",
)
_LEFT_OUT = """
SELECT COUNT(*) FILTER (WHERE place = 'late'), COUNT(*) FILTER (WHERE place = 'new'),
    COUNT(*) FILTER (WHERE place = 'alone')
FROM joiners
"""
_MEMBERS = """
WITH sides AS (
    SELECT j.joined_on, j.customer_id, b.day < j.joined_on AS is_before, COALESCE(b.orders, 0) AS orders,
        COALESCE(b.revenue, 0) AS revenue, COALESCE(b.margin, 0) AS margin
    FROM joiners AS j LEFT JOIN sold_on AS b ON b.customer_id = j.customer_id AND b.day <> j.joined_on
        AND b.day BETWEEN j.joined_on - $days AND j.joined_on + $days
    WHERE j.place = 'compared'
), each_one AS (
    SELECT joined_on, customer_id,
        COALESCE(SUM(orders) FILTER (WHERE is_before), 0) AS b1,
        COALESCE(SUM(revenue) FILTER (WHERE is_before), 0) AS b2,
        COALESCE(SUM(margin) FILTER (WHERE is_before), 0) AS b3,
        COALESCE(SUM(orders) FILTER (WHERE NOT is_before), 0) AS a1,
        COALESCE(SUM(revenue) FILTER (WHERE NOT is_before), 0) AS a2,
        COALESCE(SUM(margin) FILTER (WHERE NOT is_before), 0) AS a3
    FROM sides GROUP BY ALL
)
SELECT joined_on, COUNT(*), SUM(b1), SUM(b2), SUM(b3), SUM(a1), SUM(a2), SUM(a3),
    SUM((a1 - b1) * (a1 - b1)), SUM((a2 - b2) * (a2 - b2)), SUM((a3 - b3) * (a3 - b3))
FROM each_one GROUP BY joined_on ORDER BY joined_on
"""
# An order on day t lies before joinings of the days t + 1 … t + days, and after those of t − days … t − 1; of these,
# those from the day on that leaves its customer's whole window before.
_OTHERS_SOLD = """
CREATE OR REPLACE TEMP TABLE others_sold AS
SELECT o.customer_id, b.day, b.orders, b.revenue, b.margin,
    LEAST(GREATEST(b.day + 1, o.since), b.day + $days + 1) AS before_from, b.day + $days + 1 AS before_to,
    LEAST(GREATEST(b.day - $days, o.since), b.day) AS after_from
FROM others AS o JOIN sold_on AS b ON b.customer_id = o.customer_id
WHERE b.day BETWEEN (SELECT MIN(joined_on) FROM joiners) - $days AND (SELECT MAX(joined_on) FROM joiners) + $days
"""
_OTHERS_THERE = "SELECT since, COUNT(*) FROM others GROUP BY since ORDER BY since"
_OTHERS_MOVED = """
WITH moves AS (
    SELECT before_from AS on_day, 1 AS sign, TRUE AS is_before, orders, revenue, margin FROM others_sold
    UNION ALL SELECT before_to, -1, TRUE, orders, revenue, margin FROM others_sold
    UNION ALL SELECT after_from, 1, FALSE, orders, revenue, margin FROM others_sold
    UNION ALL SELECT day, -1, FALSE, orders, revenue, margin FROM others_sold
)
SELECT on_day, SUM(sign * orders * CAST(is_before AS INTEGER)), SUM(sign * revenue * CAST(is_before AS INTEGER)),
    SUM(sign * margin * CAST(is_before AS INTEGER)), SUM(sign * orders * CAST(NOT is_before AS INTEGER)),
    SUM(sign * revenue * CAST(NOT is_before AS INTEGER)), SUM(sign * margin * CAST(NOT is_before AS INTEGER))
FROM moves GROUP BY on_day ORDER BY on_day
"""
_UPTO = "CAST($running AS DOUBLE[])[CAST(LEAST(GREATEST({0} - $first, 0), $n_days) AS INTEGER) + 1]"  # days before {0}
_LEFT = "CAST($left_{0} AS DOUBLE[])[CAST(LEAST(GREATEST(o.since - $first, 0), $n_days) AS INTEGER) + 1]"
_OTHERS_SPREAD = f"""
WITH weighed AS (
    SELECT *, ({_UPTO.format("day")} - {_UPTO.format("after_from")})
        - ({_UPTO.format("before_to")} - {_UPTO.format("before_from")}) AS weight
    FROM others_sold
), pulled AS (
    SELECT customer_id, SUM(orders * weight) AS y0, SUM(revenue * weight) AS y1, SUM(margin * weight) AS y2
    FROM weighed GROUP BY customer_id
), influence AS (
    SELECT COALESCE(y0, 0) - {_LEFT.format(0)} AS u0, COALESCE(y1, 0) - {_LEFT.format(1)} AS u1,
        COALESCE(y2, 0) - {_LEFT.format(2)} AS u2
    FROM others AS o LEFT JOIN pulled AS p ON p.customer_id = o.customer_id
)
SELECT SUM(u0 * u0), SUM(u1 * u1), SUM(u2 * u2) FROM influence
"""
