"""How many of the treated were reached by offers, and how many answered: customers, not offers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from nextoffer.measurement.outcomes import OF_EXPERIMENT
from nextoffer.measurement.records import Records


@dataclass(frozen=True, slots=True)
class Participation:
    """Customers of the treated group: all, and those made an offer, opening one, using one in a window."""

    n_treated: int
    n_offered: int
    n_clicked: int
    n_redeemed: int

    def share(self, n: int) -> float | None:
        """Of the treated; None for nobody."""
        return n / self.n_treated if self.n_treated else None


def participation(records: Records, name: str, version: int, start: datetime, end: datetime) -> Participation:
    """Of an experiment's treated, in [start, end)."""
    asked = {"name": name, "version": version, "start": start, "end": end}
    return Participation(*records.row(_PARTICIPATION, asked))


_PARTICIPATION = f"""
WITH treated AS (
    SELECT unit_id FROM assigned WHERE {OF_EXPERIMENT} AND "group" = 'treated' AND assigned_at < $end
), met AS (
    SELECT DISTINCT unit_id FROM offered
    WHERE "group" = 'treated' AND withheld_by IS NULL AND "at" >= $start AND "at" < $end
), told AS (
    SELECT unit_id, BOOL_OR(counts) AS used FROM answers WHERE "at" >= $start AND "at" < $end GROUP BY unit_id
)
SELECT COUNT(*), COUNT(met.unit_id), COUNT(told.unit_id), COUNT(*) FILTER (WHERE told.used)
FROM treated LEFT JOIN met USING (unit_id) LEFT JOIN told USING (unit_id)
"""
