"""What a cluster of customers is called, by rules a marketer can read; and the segments as a table."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from nextoffer.domain.arrays import Floats, Ints
from nextoffer.domain.tables import SEGMENTS

QUIET = ("at_risk", "hibernating", "lost")  # the slugs of customers not seen for long
EDGE = 0.05  # percentiles this close to a rule's limit count as on it


def segment_name(recency: float, frequency: float, monetary: float, orders: float) -> str:
    """Slug of a cluster from its mean percentiles (0..1, high = good) and its typical number of orders.

    The first row that holds names it:

    | slug               | recency | frequency     | monetary  | orders | in words                        |
    | ------------------ | ------- | ------------- | --------- | ------ | ------------------------------- |
    | champions          | ≥ .60   | ≥ .75         | ≥ .70     |        | bought lately, often and much   |
    | loyal              | ≥ .40   | ≥ .60         |           |        | keep coming                     |
    | new                | ≥ .60   |               |           | < 1.5  | first order not long ago        |
    | potential_loyalist | ≥ .60   | ≥ .40         |           |        | recent, has come back           |
    | promising          | ≥ .60   |               |           |        | recent, still rare              |
    | needs_attention    | ≥ .40   |               |           |        | middling, slipping away         |
    | at_risk            | < .40   | ≥ .50, or     | ≥ .60     |        | good customers, long not seen   |
    | hibernating        | < .40   |               | ≥ .30     |        | rare, long not seen             |
    | lost               | < .40   |               | < .30     |        | rare, small, long not seen      |
    """
    if recency >= 0.60 and frequency >= 0.75 and monetary >= 0.70:
        return "champions"
    if recency >= 0.40 and frequency >= 0.60:
        return "loyal"
    if recency >= 0.60:
        if orders < 1.5:
            return "new"
        return "potential_loyalist" if frequency >= 0.40 else "promising"
    if recency >= 0.40:
        return "needs_attention"
    if frequency >= 0.50 or monetary >= 0.60:
        return "at_risk"
    return "hibernating" if monetary >= 0.30 else "lost"


def kept_name(recency: float, frequency: float, monetary: float, orders: float, before: str) -> str:
    """The name of last time while percentiles within EDGE would still give it, else `segment_name`."""
    near = product(*((value - EDGE, value, value + EDGE) for value in (recency, frequency, monetary)))
    if before in {segment_name(r, f, m, orders) for r, f, m in near}:
        return before
    return segment_name(recency, frequency, monetary, orders)


def segment_table(
    codes: Ints, recency_days: Ints | Floats, frequency: Ints | Floats, monetary: Floats
) -> list[dict[str, Any]]:
    """One row per segment that has customers: size, share, share of revenue, ranges of R, F and M.

    Parameters
    ----------
    codes : (n,) index into SEGMENTS
    """
    named = {"recency_days": recency_days, "frequency": frequency, "monetary": monetary}
    measures = {name: np.asarray(values, dtype=np.float64) for name, values in named.items()}
    spend = np.maximum(measures["monetary"], 0.0)
    revenue = float(spend.sum())
    rows: list[dict[str, Any]] = []
    for code, slug in enumerate(SEGMENTS):
        members = np.flatnonzero(np.asarray(codes) == code)
        if not len(members):
            continue
        row: dict[str, Any] = {
            "segment": slug,
            "customers": len(members),
            "share": len(members) / len(codes),
            "revenue_share": float(spend[members].sum()) / revenue if revenue > 0 else 0.0,
        }
        rows.append(row | {name: _range(values[members]) for name, values in measures.items()})
    return rows


def _range(values: npt.NDArray[np.float64]) -> dict[str, float]:
    return {
        "min": float(values.min()),
        "median": float(np.median(values)),
        "max": float(values.max()),
    }
