"""Before a campaign or an experiment starts: what it could find, from what its customers did lately."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from nextoffer.config import Settings, Trial
from nextoffer.config.base import nearest
from nextoffer.domain.arrays import Ints
from nextoffer.domain.kinds import KINDS
from nextoffer.domain.money import minor_digits
from nextoffer.domain.wording import kind_name
from nextoffer.errors import RequestError
from nextoffer.measurement.outcomes import Look, observe
from nextoffer.measurement.power import Plan, plan
from nextoffer.measurement.records import Records, naive, windows
from nextoffer.measurement.sheet import Cell, Column, Format, Sheet
from nextoffer.pipeline.analysis import open_shop
from nextoffer.pipeline.audience import Run, ids_of, people_of
from nextoffer.pipeline.campaign import campaign_of
from nextoffer.pipeline.workspace import Progress, quiet, workspace
from nextoffer.plugins import open_source
from nextoffer.sources.load import load_history
from nextoffer.texts import Said, listed, said, text
from nextoffer.tracking.experiments import studies_of, takes_part
from nextoffer.tracking.holdout import groups

FORMATS: dict[str, Format] = {"margin": "average", "revenue": "average", "orders": "number"}
_PAST = "past"  # the name of an experiment that never was: the same customers, as long ago as it is to last


def plan_shop(
    settings: Settings,
    name: str,
    now: datetime,
    until: datetime,
    signing_key: str | None = None,
    progress: Progress = quiet,
) -> Sheet:
    """What a campaign or an experiment would find if its customers went on as before `until`.

    Parameters
    ----------
    name : of a campaign, an experiment, or the permanent holdout

    Raises
    ------
    RequestError : there is none of that name
    NoBundleError, BundleError : the customers are those of the bundle in service
    SourceError : the shop's history cannot be read
    """
    trial, share, campaign = _named(settings, name)
    progress("customers")
    shop = open_shop(settings, signing_key)
    rows: Ints = np.arange(len(shop.bundle.customer_ids.ids))
    if campaign is not None:
        terms, channel = campaign_of(settings, campaign)
        rows = people_of(Run(shop, campaign, terms, channel, until.date(), now)).askable()
    ids = _who(settings, name, trial, ids_of(shop, rows))
    days = _window(settings, trial, campaign)
    with workspace(settings) as folder:
        progress("orders")
        history = load_history(settings, folder / "history", progress, open_source)
        progress("plan")
        start = until - timedelta(days=days)
        with Records.open(
            orders=history.folder / "orders.parquet",
            assignments=_as_if_assigned(ids, start),
            currency=settings.currency,
            margin_share=settings.margin.default_share,
            memory_limit=settings.engine.memory_limit,
            temp_directory=folder,
        ) as records:
            look = Look(_PAST, 1, start, until, before_days=settings.measurement.before_days)
            seen = observe(records, look)
    plans = {
        metric: plan(seen.values[metric], max(len(ids), 4), share, before=seen.before.get(metric))
        for metric in FORMATS
    }
    only = trial.kinds if trial is not None else ()
    return _sheet(name, days, plans, settings.currency, only)


def _who(settings: Settings, name: str, trial: Trial | None, ids: list[str]) -> list[str]:
    """Those of a list who would take part: in an experiment, its slice of whoever is not held out permanently."""
    if trial is None or not ids:
        return ids
    study = next(one for one in studies_of(settings) if one.trial is trial)
    inside = takes_part(study, ids) & ~groups(settings.experiment, ids)
    return [unit for unit, takes in zip(ids, inside.tolist(), strict=True) if takes]


def _named(settings: Settings, name: str) -> tuple[Trial | None, float, str | None]:
    """The trial, the share it holds out, and the campaign whose list it is about."""
    if name in settings.campaigns:
        trials = [trial for _, trial in sorted(settings.experiments.items()) if name in trial.campaigns]
        share = trials[0].holdout_share if trials else settings.experiment.holdout_share
        return trials[0] if trials else None, share, name
    if name in settings.experiments:
        trial = settings.experiments[name]
        return trial, trial.holdout_share, trial.campaigns[0] if trial.campaigns else None
    if name == settings.experiment.name:
        return None, settings.experiment.holdout_share, None
    known = (*settings.campaigns, *settings.experiments, settings.experiment.name)
    raise RequestError(
        f"there is no campaign or experiment {name!r}{nearest(name, known) or '.'} There are: {', '.join(known)}",
        field="plan",
    )


def _window(settings: Settings, trial: Trial | None, campaign: str | None) -> int:
    """Days in which an order counts: of the kinds concerned, the longest."""
    known = windows({str(kind): days for kind, days in settings.measurement.window_days.items()})
    kinds: Sequence[str] = trial.kinds if trial is not None else ()
    if not kinds and campaign is not None:
        kinds = settings.campaigns[campaign].kinds
    return max(known[kind] for kind in kinds or KINDS)


def _as_if_assigned(ids: Sequence[str], start: datetime) -> pa.Table:
    moment = pa.scalar(naive(start), pa.timestamp("us"))
    return pa.table(
        {
            "unit_id": pa.array(ids, pa.large_string()),
            "group": pa.repeat("treated", len(ids)),
            "assigned_at": pa.repeat(moment, len(ids)),
        }
    )


def _sheet(name: str, days: int, plans: dict[str, Plan], currency: str, kinds: Sequence[str] = ()) -> Sheet:
    first = plans["revenue"]
    notes: list[Said] = [
        said(
            "{n} customers, {share} of them held out, as they bought in the last {days} days: about {treated} buyers "
            "among the treated, {holdout} held out.",
            n=first.n,
            share=said("{percent}%", percent=round(100 * first.holdout_share, 1)),
            days=days,
            treated=round(first.treated_buyers),
            holdout=round(first.holdout_buyers),
        )
    ]
    if first.n_lacking is None:
        notes.append(said("Nobody has bought enough yet to say what could be found."))
    elif first.too_little:
        notes.append(
            said(
                "Too little data to find a lift of {lift} in revenue: about {n} more customers are needed at this "
                "split.",
                lift=said("{percent}%", percent=round(100 * first.lift, 1)),
                n=first.n_lacking,
            )
        )
    if first.small_holdout and first.holdout_share < first.best_share:
        notes.append(said("Small holdout: what is found is rough. A larger holdout_share finds more."))
    if kinds:
        notes.append(
            said(
                "Only those about to be offered {kinds} will take part: fewer customers, who find less.",
                kinds=listed([kind_name(kind) for kind in kinds]),
            )
        )
    rows = tuple(_row(metric, each, currency) for metric, each in plans.items())
    title = said("What {name} could find before it starts", name=name)
    return Sheet("plan", title, _COLUMNS, rows, tuple(notes), tuple(FORMATS[metric] for metric in plans))


def _row(metric: str, each: Plan, currency: str) -> tuple[Cell, ...]:
    unit = 10 ** minor_digits(currency) if FORMATS[metric] == "average" else 1
    found = None if each.detectable is None else each.detectable * unit
    lift, cut = each.detectable_lift, each.variance_cut
    return metric, said(_METRICS[metric]), each.mean * unit, found, lift, each.n_needed, each.best_share, cut


_METRICS = {"margin": text("margin"), "revenue": text("revenue"), "orders": text("orders")}
_COLUMNS = (
    Column("metric", text("metric"), "key"),
    Column("heading", text("per customer")),
    Column("mean", text("mean so far"), "row"),
    Column("detectable", text("smallest difference found 8 times in 10"), "row"),
    Column("detectable_lift", text("the same in %"), "change"),
    Column("n_needed", text("customers needed to find 5 %"), "count"),
    Column("best_share", text("best share held out"), "share"),
    Column("variance_cut", text("variance cut by the past"), "share"),
)
