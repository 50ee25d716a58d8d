"""Whether the groups of an experiment can be compared at all: a readout whose checks fail is not shown.

    altered      no assignment differs from what the hash, or the exact draw, says
    split        as many are held out as configured, in all and inside each segment at assignment
    exposure     within a day of assignment, before offers can change who comes back, as large a part of the holdout
                 would have been offered something as of the treated was
    contaminated almost nobody held out met an offer, or was in the other group as a visitor

Over the whole window offers themselves may change who comes back and is offered more: a difference there blocks only
the comparison of the exposed, not that of all assigned.

References
----------
Fabijan et al. (2019), Diagnosing sample ratio mismatch in online controlled experiments, KDD: p < .001 blocks.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from scipy.special import bdtr, bdtrc, chdtrc

from nextoffer.domain.arrays import Ints
from nextoffer.measurement.outcomes import OF_EXPERIMENT, Look, Observed
from nextoffer.measurement.records import Records
from nextoffer.texts import Said, said, said_many

RATIO_P = 0.001  # a split this unlikely means the groups were not drawn, or not logged, as configured
CONTAMINATED = 0.01  # share of the holdout that may have met an offer
_EXPECTED = 5  # least number in a cell for which the chi-square of exposures can be trusted


@dataclass(frozen=True, slots=True)
class Checks:
    """What was checked, and what it blocks.

    Parameters
    ----------
    n_treated, n_holdout : everybody assigned before the end of the look
    split_p : chance of a split at least this uneven, had customers been drawn at `holdout_share`
    strata_p : the same for the most uneven segment, corrected for their number; None with one segment
    n_exposed_treated, n_exposed_holdout : who was offered something in the window, or would have been
    early_exposure_p, exposure_p : chance of parts this unequal: within a day of assignment, in the whole window
    n_contaminated : held out, and met an offer or was treated as a visitor
    n_crossed : in either group, and in the other one as a visitor
    n_altered : assignments that are not what was drawn
    blocked : why there is no readout; None if there is one
    triggered_blocked : why there is none of the exposed
    """

    n_treated: int
    n_holdout: int
    holdout_share: float
    split_p: float | None
    strata_p: float | None
    n_exposed_treated: int
    n_exposed_holdout: int
    early_exposure_p: float | None
    exposure_p: float | None
    n_contaminated: int
    contaminated_share: float
    n_crossed: int
    n_altered: int
    blocked: str | None
    triggered_blocked: str | None

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        return asdict(self)


def check(
    records: Records, look: Look, observed: Observed, *, holdout_share: float, n_altered: int = 0
) -> Checks:
    """Check one look.

    Parameters
    ----------
    observed : the look's outcomes
    holdout_share : as configured
    n_altered : assignments found that differ from what was drawn; who holds the hash counts them
    """
    asked = {
        "name": look.name,
        "version": look.version,
        "key": look.key,
        "end": look.end,
        "kinds": list(look.kinds),
        "campaigns": list(look.campaigns),
        "ends": look.ends or look.end,
    }
    meeting = _MEETING_TRIAL if look.window_days is not None else _MEETING_ANY
    n_treated, n_holdout, n_met, n_crossed = records.row(_GROUPS.format(meeting=meeting), asked)
    split_p = ratio_p(n_treated, n_holdout, holdout_share)
    strata_p, stratum = _strata_p(observed, holdout_share)
    early_p, p = (_exposure_p(observed, early) for early in (True, False))
    met = n_met / n_holdout if n_holdout else 0.0
    faults = (
        _altered(n_altered),
        _nobody(n_treated, n_holdout),
        _uneven(n_treated, n_holdout, holdout_share, split_p),
        _uneven_stratum(stratum, strata_p),
        _unlogged(observed, True, early_p),
        _contaminated(met),
    )
    blocked = next((fault for fault in faults if fault is not None), None)
    exposed = observed.exposed()
    return Checks(
        n_treated,
        n_holdout,
        holdout_share,
        split_p,
        strata_p,
        *exposed,
        early_p,
        p,
        n_met,
        met,
        n_crossed,
        n_altered,
        blocked,
        blocked or _unlogged(observed, False, p),
    )


def ratio_p(n_treated: int, n_holdout: int, share: float) -> float | None:
    """Exact two-sided binomial p (twice the smaller tail) of the sizes against a share; None for nobody.

    >>> ratio_p(95, 5, 0.05), ratio_p(0, 0, 0.05)
    (1.0, None)
    """
    n = n_treated + n_holdout
    if n == 0 or not 0 < share < 1:
        return None
    at_least = bdtrc(n_holdout - 1, n, share) if n_holdout else 1.0
    return min(1.0, 2 * float(min(bdtr(n_holdout, n, share), at_least)))


def _strata_p(observed: Observed, share: float) -> tuple[float | None, str]:
    """The most uneven stratum's p, times the number of strata, and its name."""
    found = [
        (p, name)
        for name, (treated, holdout) in zip(observed.strata, observed.sizes.tolist(), strict=True)
        if (p := ratio_p(treated, holdout, share)) is not None
    ]
    if len(found) < 2:
        return None, ""
    p, name = min(found)
    return min(1.0, p * len(found)), name


def _exposure_p(observed: Observed, early: bool) -> float | None:
    """Chi-square, one degree of freedom, of exposed and not exposed by group; None where it says nothing."""
    met = observed.exposed(early)
    sizes: Ints = observed.sizes.sum(axis=0)
    a, b = met
    c, d = int(sizes[0]) - a, int(sizes[1]) - b
    n = a + b + c + d
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    if margins == 0 or min(a + b, c + d) * min(a + c, b + d) < _EXPECTED * n:
        return None
    return float(chdtrc(1, n * float(a * d - b * c) ** 2 / margins))


def _percent(share: float) -> Said:
    return said("{percent}%", percent=round(100 * share, 1) if math.isfinite(share) else 0)


def _altered(n_altered: int) -> Said | None:
    if n_altered == 0:
        return None
    return said_many(
        "{n} assignment is not what was drawn: the ledger was changed by hand, or the configuration without a new "
        "version. Restore it, or raise the version.",
        "{n} assignments are not what was drawn: the ledger was changed by hand, or the configuration without a new "
        "version. Restore it, or raise the version.",
        n_altered,
    )


def _nobody(n_treated: int, n_holdout: int) -> Said | None:
    if min(n_treated, n_holdout) >= 2:
        return None
    return said(
        "treated customers: {treated}, held out: {holdout}; there is nobody to compare with. "
        "Set [experiment] holdout_share above 0 and serve or export offers first.",
        treated=n_treated,
        holdout=n_holdout,
    )


def _uneven(n_treated: int, n_holdout: int, share: float, p: float | None) -> Said | None:
    if p is None or p >= RATIO_P:
        return None
    return said(
        "{holdout} of {all} customers are held out where {share} were meant to be (p = {p}): the groups "
        "were not drawn as configured. Was holdout_share changed without a new version?",
        holdout=n_holdout,
        all=n_treated + n_holdout,
        share=_percent(share),
        p=f"{p:.1g}",
    )


def _uneven_stratum(stratum: str, p: float | None) -> Said | None:
    if p is None or p >= RATIO_P:
        return None
    return said(
        "in the segment {segment} the groups were not drawn as configured (p = {p}): who is held out depends on "
        "who they are",
        segment=stratum or said("without a segment"),
        p=f"{p:.1g}",
    )


def _unlogged(observed: Observed, early: bool, p: float | None) -> Said | None:
    if p is None or p >= RATIO_P:
        return None
    (treated, holdout), sizes = observed.exposed(early), observed.sizes.sum(axis=0)
    facts = {
        "treated": _percent(treated / sizes[0]),
        "holdout": _percent(holdout / sizes[1]),
        "p": f"{p:.1g}",
    }
    if early:
        return said(
            "{treated} of the treated were offered something within a day of being assigned, of the holdout "
            "{holdout} would have been (p = {p}): what the holdout would have seen is not recorded as it should be",
            **facts,
        )
    return said(
        "{treated} of the treated were offered something, of the holdout {holdout} would have been (p = {p}): "
        "offers changed who came back, or were not recorded alike; compare all assigned instead",
        **facts,
    )


def _contaminated(share: float) -> Said | None:
    if share <= CONTAMINATED:
        return None
    return said(
        "{share} of the holdout met an offer: find out what shows offers to held-out customers.",
        share=_percent(share),
    )


_MEETING_ANY = """
SELECT h.unit_id FROM happened AS h JOIN held AS a ON a.unit_id = h.unit_id
WHERE h.type LIKE 'promotion-%' AND h."at" >= a.assigned_at AND h."at" < $end
"""
# Of a trial, only the offers it keeps back, made since: a customer held out of one kind is offered others.
_MEETING_TRIAL = """
SELECT told.unit_id FROM (
    SELECT h.unit_id, h."at", o."at" AS made, o.kind, o.campaign, o.withheld_by FROM happened AS h
    JOIN offered AS o ON o.decision_id = h.decision_id AND (h.offer_id IS NULL OR h.offer_id = o.offer_id)
    WHERE h.type LIKE 'promotion-%'
    UNION ALL
    SELECT h.unit_id, h."at", o."at" AS made, o.kind, o.campaign, o.withheld_by FROM happened AS h
    JOIN offered AS o ON o.unit_id = h.unit_id AND o.offer_id = h.offer_id
    WHERE h.type LIKE 'promotion-%' AND h.decision_id IS NULL
) AS told JOIN held AS a ON a.unit_id = told.unit_id
WHERE told."at" >= a.assigned_at AND told.made >= a.assigned_at AND told."at" < $end
    AND (told.withheld_by = $key OR (told.withheld_by IS NULL
    AND (len($kinds) = 0 OR list_contains($kinds, told.kind))
    AND (len($campaigns) = 0 OR list_contains($campaigns, told.campaign))))
"""
_GROUPS = f"""
WITH chosen AS (
    SELECT unit_id, "group", assigned_at, crossed FROM assigned WHERE {OF_EXPERIMENT} AND assigned_at < $end
), held AS (
    SELECT unit_id, assigned_at FROM chosen WHERE "group" = 'holdout'
), met AS (
    SELECT DISTINCT unit_id FROM ({{meeting}})
)
SELECT COUNT(*) FILTER (WHERE "group" = 'treated'), COUNT(*) FILTER (WHERE "group" = 'holdout'),
    COUNT(*) FILTER (WHERE "group" = 'holdout' AND (crossed OR unit_id IN (SELECT unit_id FROM met))),
    COUNT(*) FILTER (WHERE crossed)
FROM chosen
"""
