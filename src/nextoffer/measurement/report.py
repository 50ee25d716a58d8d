"""One look at an experiment: what offers caused, what may merely be attributed to them, how the shop does."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from scipy.special import chdtrc

from nextoffer.config import Experiment
from nextoffer.domain.money import minor_digits, to_wire
from nextoffer.errors import MeasurementError
from nextoffer.measurement.experiment import Arm, Effect, permutation_test, seed_of
from nextoffer.measurement.kpi import ATTRIBUTION_DAYS, Attributed, Figures, Kpis, Participation, Window
from nextoffer.measurement.outcomes import Outcomes, naive, outcomes
from nextoffer.texts import Said, said

if TYPE_CHECKING:
    from rich.console import RenderableType

_SPLIT_P = 0.001  # a split this unlikely means the groups were not drawn as configured
_CONTAMINATED = 0.01  # share of the holdout that may have met an offer


@dataclass(frozen=True, slots=True)
class Checks:
    """Whether the groups can be compared at all.

    Parameters
    ----------
    split_p : chance of a split at least this uneven, had customers been drawn at `holdout_share`
    contaminated_share : part of the holdout that is recorded as having met an offer
    blocked : why there is no readout; None if there is one
    """

    n_treated: int
    n_holdout: int
    holdout_share: float
    split_p: float | None
    contaminated_share: float
    blocked: str | None


@dataclass(frozen=True, slots=True)
class Measurement:
    """Everything `measure` says about [start, end). `effects` are caused; `attributed` is not.

    `effects` holds orders (count), revenue and margin (currency units) per assigned customer; it is empty
    when a check blocks the readout. `members` and `others` are None where no membership is known.
    """

    experiment: str
    version: int
    currency: str
    start: datetime
    end: datetime
    checks: Checks
    effects: tuple[tuple[str, Effect], ...]
    participation: Participation
    now: Kpis
    before: Kpis
    members: Kpis | None
    others: Kpis | None
    attributed: Attributed


def measure(
    *,
    orders: pa.Table,
    live_orders: pa.Table,
    assignments: pa.Table,
    decisions: pa.Table,
    events: pa.Table,
    customers: pa.Table | None,
    experiment: Experiment,
    currency: str,
    start: datetime,
    end: datetime,
    margin_share: float,
    contact_cost: float = 0.0,
    programme_cost: float = 0.0,
    n_permutations: int = 9_999,
) -> Measurement:
    """Measure an experiment over [start, end).

    Parameters
    ----------
    orders, customers : the canonical tables; `customers` may be None
    live_orders, assignments, decisions, events : the ledger's tables. `decisions` must hold those that events
        of the window answer, even if they were made before it.
    margin_share : margin as a share of revenue where no cost is known
    contact_cost : of one message, in currency; `programme_cost` that of the programme in the window

    Raises
    ------
    MeasurementError : the window is empty.
    """
    if end <= start:
        raise MeasurementError(f"the window from {start} until {end} is empty: choose an earlier --from")
    window = Window(start, end)
    checks = _check_groups(assignments, decisions, events, experiment, window)
    effects: tuple[tuple[str, Effect], ...] = ()
    if checks.blocked is None:
        result = outcomes(orders, live_orders, assignments, start, end, margin_share, currency)
        look = f"{naive(start).isoformat()}/{naive(end).isoformat()}"
        seed = seed_of(experiment.name, experiment.version, look)
        effects = _effects(result, seed, n_permutations)
    figures = Figures(orders, live_orders, customers, margin_share)
    known = figures.knows_members
    return Measurement(
        experiment=experiment.name,
        version=experiment.version,
        currency=currency,
        start=start,
        end=end,
        checks=checks,
        effects=effects,
        participation=figures.participation(assignments, decisions, events, window),
        now=figures.kpis(window),
        before=figures.kpis(window.before),
        members=figures.kpis(window, members=True) if known else None,
        others=figures.kpis(window, members=False) if known else None,
        attributed=figures.attributed(
            decisions, events, window, currency, contact_cost=contact_cost, programme_cost=programme_cost
        ),
    )


def to_json(measurement: Measurement) -> dict[str, Any]:
    """The measurement as JSON-able values: totals are decimal strings, figures per customer are numbers.

    An end of an interval that cannot be bounded is null.
    """
    m, currency = measurement, measurement.currency
    return {
        "experiment": {"name": m.experiment, "version": m.version},
        "from": m.start.isoformat(),
        "until": m.end.isoformat(),
        "currency": currency,
        "checks": _plain(m.checks),
        "incremental": {name: _effect_json(effect) for name, effect in m.effects},
        "participation": _plain(m.participation)
        | {name: getattr(m.participation, name) for name in ("offered", "clicked", "redeemed", "members")},
        "kpis": {
            name: None if kpis is None else _kpis_json(kpis, currency)
            for name, kpis in (
                ("window", m.now),
                ("before", m.before),
                ("members", m.members),
                ("non_members", m.others),
            )
        },
        "attributed": _attributed_json(m.attributed, currency),
    }


def render(measurement: Measurement, language: str = "en") -> RenderableType:
    """The measurement as a marketer reads it on a terminal, in a language of `texts`."""
    from nextoffer.measurement.render import rendered

    return rendered(measurement, language)


def _effects(result: Outcomes, seed: int, n_permutations: int) -> tuple[tuple[str, Effect], ...]:
    n_treated = int(np.count_nonzero(result.treated))
    n_holdout = len(result) - n_treated
    effects = []
    for name, values in (
        ("orders", result.n_orders.astype(np.float64)),
        ("revenue", result.revenue),
        ("margin", result.margin),
    ):
        bought = values != 0
        effect = permutation_test(
            values[bought],
            result.treated[bought],
            n_treated,
            n_holdout,
            seed=seed,
            n_permutations=n_permutations,
        )
        effects.append((name, effect))
    return tuple(effects)


def _check_groups(
    assignments: pa.Table, decisions: pa.Table, events: pa.Table, experiment: Experiment, window: Window
) -> Checks:
    import duckdb

    con = duckdb.connect(":memory:")
    for name, table in (("assigned", assignments), ("decided", decisions), ("happened", events)):
        con.register(name, table)
    ((n_treated, n_holdout, n_met),) = con.execute(_GROUPS, {"end": naive(window.end)}).fetchall()
    share = experiment.holdout_share
    split_p = _split_p(n_treated, n_holdout, share)
    met = n_met / n_holdout if n_holdout else 0.0
    blocked: Said | None = None
    if min(n_treated, n_holdout) < 2:
        blocked = said(
            "treated customers: {treated}, held out: {holdout}; there is nobody to compare with. "
            "Set [experiment] holdout_share above 0 and serve or export offers first.",
            treated=n_treated,
            holdout=n_holdout,
        )
    elif split_p is not None and split_p < _SPLIT_P:
        blocked = said(
            "{holdout} of {all} customers are held out where {share} were meant to be (p = {p}): the groups "
            "were not drawn as configured. Was holdout_share changed without a new version?",
            holdout=n_holdout,
            all=n_treated + n_holdout,
            share=said("{percent}%", percent=round(100 * share, 1)),
            p=f"{split_p:.1g}",
        )
    elif met > _CONTAMINATED:
        blocked = said(
            "{share} of the holdout met an offer: find out what shows offers to held-out customers.",
            share=said("{percent}%", percent=round(100 * met, 1)),
        )
    return Checks(n_treated, n_holdout, share, split_p, met, blocked)


def _split_p(n_treated: int, n_holdout: int, share: float) -> float | None:
    """Chi-square, one degree of freedom, of the sizes against the configured share."""
    n = n_treated + n_holdout
    if n == 0 or not 0 < share < 1:
        return None
    return float(chdtrc(1, (n_holdout - n * share) ** 2 / (n * share * (1 - share))))


_GROUPS = """
WITH units AS (SELECT unit_id, "group" FROM assigned WHERE assigned_at < $end)
SELECT COUNT(*) FILTER (WHERE "group" = 'treated'), COUNT(*) FILTER (WHERE "group" = 'holdout'),
    COUNT(*) FILTER (WHERE "group" = 'holdout' AND unit_id IN (
        SELECT COALESCE(d.unit_id, h.unit_id) FROM happened AS h
        LEFT JOIN decided AS d ON d.decision_id = h.decision_id
        WHERE h.type LIKE 'promotion-%' AND h."at" < $end AND COALESCE(d.unit_id, h.unit_id) IS NOT NULL))
FROM units
"""


def _effect_json(effect: Effect) -> dict[str, Any]:
    values = _plain(effect)
    return (
        values
        | {name: _arm_json(getattr(effect, name)) for name in ("treated", "holdout")}
        | {"small_holdout": effect.small_holdout}
    )


def _arm_json(arm: Arm) -> dict[str, Any]:
    return {"n": arm.n, "n_buyers": arm.n_buyers, "mean": arm.mean}


def _kpis_json(kpis: Kpis, currency: str) -> dict[str, Any]:
    unit = 10 ** minor_digits(currency)
    return {
        "n_customers": kpis.n_customers,
        "n_orders": kpis.n_orders,
        "revenue": to_wire(kpis.revenue, currency),
        "repeat_rate": kpis.repeat_rate,
        "frequency": kpis.frequency,
        "average_order": None if kpis.average_order is None else kpis.average_order / unit,
        "lifetime_value": None if kpis.lifetime_value is None else kpis.lifetime_value / unit,
    }


def _attributed_json(attributed: Attributed, currency: str) -> dict[str, Any]:
    money = ("revenue", "incentives", "contacts", "programme", "cost")
    return {
        "n_orders": attributed.n_orders,
        **{name: to_wire(getattr(attributed, name), currency) for name in money},
        "roi_percent": attributed.roi_percent,
        "within_days": ATTRIBUTION_DAYS,
        "note": attributed.note,
    }


def _plain(item: Any) -> dict[str, Any]:
    """The simple fields of a dataclass; what is not finite becomes None."""
    values = {field.name: getattr(item, field.name) for field in fields(item)}
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
        if not isinstance(value, Arm)
    }
