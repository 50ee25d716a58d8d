"""What customers say: NPS with its interval, CSI by aspect, reviews; by segment and over the months."""

from __future__ import annotations

import math

from nextoffer.domain.wording import segment_name
from nextoffer.measurement.kpi.counting import Counted, parameters
from nextoffer.measurement.sheet import Cell, Column, Sheet
from nextoffer.texts import Said, said, said_many, text

_Z = 1.959963984540054  # two-sided 95 %
_FIGURES = (
    Column("nps", text("NPS"), "number"),
    Column("nps_low", text("at least (95%)"), "number"),
    Column("nps_high", text("at most (95%)"), "number"),
    Column("nps_answers", text("NPS answers"), "count"),
    Column("csi", text("CSI"), "number"),
    Column("csi_answers", text("CSI answers"), "count"),
    Column("rating", text("mean rating of the reviews"), "number"),
    Column("reviews", text("reviews"), "count"),
)


def nps_interval(promoters: int, passives: int, detractors: int) -> tuple[float, float] | None:
    """The 95 % interval of an NPS, −100 to 100; None without answers.

    Three answers are added, ¾ at either end and 1½ between, before the usual formula: without them the interval
    of few answers is far too short, and that of ten promoters has no length at all. It always holds the NPS itself.

    References
    ----------
    Rocks (2016), Interval estimation for the "Net Promoter Score", The American Statistician 70(4).
    """
    n = promoters + passives + detractors
    if n == 0:
        return None
    up, down = (promoters + 0.75) / (n + 3), (detractors + 0.75) / (n + 3)
    half = _Z * math.sqrt((up + down - (up - down) ** 2) / (n + 3))
    score = 100 * (promoters - detractors) / n
    low, high = 100 * (up - down - half), 100 * (up - down + half)
    return max(-100.0, min(low, score)), min(100.0, max(high, score))


def answers(counted: Counted) -> Sheet:
    """NPS, CSI and reviews of everybody, of each segment and of each aspect, in the window."""
    rows = _asked(counted, _WHOSE)
    return Sheet(
        name="surveys",
        title=text("What customers say"),
        columns=(Column("part", text("part"), "key"), Column("who", text("who or what")), *_FIGURES),
        rows=tuple((_key(row), _name(row), *_figures(row[2:])) for row in rows),
        notes=(*_scale(counted), *counted.filter.notes(category=False)),
    )


def answers_by_month(counted: Counted) -> Sheet:
    """NPS, CSI and reviews by the shop's calendar month, in the window."""
    rows = _asked(counted, _MONTHLY)
    return Sheet(
        name="survey_months",
        title=text("What customers say, month by month"),
        columns=(Column("month", text("month")), *_FIGURES),
        rows=tuple((row[1], *_figures(row[2:])) for row in rows),
        notes=counted.filter.notes(category=False),
    )


def _asked(counted: Counted, parts: str) -> list[tuple[Cell, ...]]:
    asked = parameters(counted.window, counted.terms, counted.filter)
    return counted.records.rows(_ANSWERS.format(parts=parts), asked)


def _figures(row: tuple[Cell, ...]) -> tuple[Cell, ...]:
    promoters, passives, detractors, csi, n_csi, rating, n_reviews = row
    ups, mids, downs = int(promoters or 0), int(passives or 0), int(detractors or 0)
    n = ups + mids + downs
    low, high = nps_interval(ups, mids, downs) or (None, None)
    nps = 100 * (ups - downs) / n if n else None
    return nps, low, high, n, csi, n_csi, rating, n_reviews


def _key(row: tuple[Cell, ...]) -> str:
    return str(row[0]) if row[1] is None else f"{row[0]}:{row[1]}"


def _name(row: tuple[Cell, ...]) -> Cell:
    part, name = row[0], row[1]
    if part == "all":
        return said("Everybody")
    if part == "segment":
        return said(segment_name(str(name))) if name else said("in no segment")
    return name


def _scale(counted: Counted) -> tuple[Said, ...]:
    """The scale of the CSI is the shop's own: said as it was answered; and answers that are no NPS."""
    low, high, wrong = counted.records.row(_SCALE, parameters(counted.window, counted.terms, counted.filter))
    notes = []
    if low is not None:
        notes.append(
            said(
                "CSI is the mean of the answers, {low} to {high} in this window; aspects count by their answers"
                " and weights.",
                low=low,
                high=high,
            )
        )
    if wrong:
        notes.append(
            said_many(
                "{n} NPS answer outside 0 to 10 is left out.",
                "{n} NPS answers outside 0 to 10 are left out.",
                wrong,
            )
        )
    return tuple(notes)


_KEPT = """
SELECT a.kind, a.aspect, s.segment, TRY_CAST(a.score AS DECIMAL(12,3)) AS score, a.answered_at,
    CAST(COALESCE(map(CAST($aspects AS VARCHAR[]), CAST($weights AS DECIMAL(12,3)[]))[a.aspect], 1)
        AS DECIMAL(12,3)) AS weight
FROM surveys AS a LEFT JOIN segments AS s ON s.customer_id = a.customer_id
WHERE a.answered_at >= $start AND a.answered_at < $end
    AND TRY_CAST(a.score AS DECIMAL(12,3)) IS NOT NULL AND ($segment IS NULL OR s.segment = $segment)
"""
_ANSWERS = f"""
WITH kept AS ({_KEPT}), parts AS ({{parts}})
SELECT part, name,
    COUNT(*) FILTER (WHERE kind = 'nps' AND score BETWEEN 9 AND 10),
    COUNT(*) FILTER (WHERE kind = 'nps' AND score > 6 AND score < 9),
    COUNT(*) FILTER (WHERE kind = 'nps' AND score BETWEEN 0 AND 6),
    SUM(weight * score) FILTER (WHERE kind = 'csi') / NULLIF(SUM(weight) FILTER (WHERE kind = 'csi'), 0),
    COUNT(*) FILTER (WHERE kind = 'csi'),
    SUM(score) FILTER (WHERE kind = 'review') / NULLIF(COUNT(*) FILTER (WHERE kind = 'review'), 0),
    COUNT(*) FILTER (WHERE kind = 'review')
FROM parts GROUP BY place, part, name ORDER BY place, name NULLS LAST
"""
_WHOSE = """
SELECT 1 AS place, 'all' AS part, NULL AS name, * FROM kept
UNION ALL SELECT 2, 'segment', segment, * FROM kept
UNION ALL SELECT 3, 'aspect', aspect, * FROM kept WHERE aspect <> ''
"""
_MONTHLY = """
SELECT 1 AS place, 'month' AS part, strftime(timezone($zone, timezone('UTC', answered_at)), '%Y-%m') AS name, *
FROM kept
"""
_SCALE = f"""
WITH kept AS ({_KEPT})
SELECT CAST(MIN(score) FILTER (WHERE kind = 'csi') AS DOUBLE), CAST(MAX(score) FILTER (WHERE kind = 'csi') AS DOUBLE),
    COUNT(*) FILTER (WHERE kind = 'nps' AND NOT score BETWEEN 0 AND 10)
FROM kept
"""
