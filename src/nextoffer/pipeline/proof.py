"""What happened, and what the offers caused: records into the ledger, the ledger against the orders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nextoffer.bundle.bundle import open_bundle
from nextoffer.config import Experiment, Settings, Trial
from nextoffer.config.base import nearest
from nextoffer.domain.events import EVENT_TYPES
from nextoffer.domain.history import History
from nextoffer.domain.kinds import KINDS
from nextoffer.domain.tables import SEGMENTS
from nextoffer.domain.wording import kind_name
from nextoffer.errors import BundleError, MeasurementError, RequestError
from nextoffer.measurement.costs import Costs
from nextoffer.measurement.judging import Question
from nextoffer.measurement.kpi import Filter, Preset, Window
from nextoffer.measurement.merging import GIVEN
from nextoffer.measurement.outcomes import Look, window_of
from nextoffer.measurement.records import Records, windows
from nextoffer.measurement.report import Measurement, measure
from nextoffer.measurement.tables import Asked
from nextoffer.pipeline.workspace import Progress, as_of_moment, quiet, workspace
from nextoffer.plugins import open_source
from nextoffer.sources.load import load_history
from nextoffer.texts import Said, listed, said
from nextoffer.tracking.allocation import altered
from nextoffer.tracking.experiments import Study
from nextoffer.tracking.ledger import Ledger
from nextoffer.tracking.record import RecordReport, record_file

EVERYTHING = Filter()
MEMORY_LIMIT = "1500MB"  # of DuckDB, unless configured: what does not fit is spilled
_MET = tuple(kind for kind in EVENT_TYPES if kind.startswith("promotion-"))  # page views prove nothing


def record(settings: Settings, ledger: Ledger, path: Path, now: datetime | None = None) -> RecordReport:
    """Import exposures, clicks, redemptions or orders; what is there already is counted, not written again.

    `now` is when we were told: what lies after it is refused. Without it nothing is.
    """
    return record_file(ledger, path, settings.zone, settings.currency, now)


def asked_filter(segment: str | None, kind: str | None, category: str | None) -> Filter:
    """What to measure alone.

    Raises
    ------
    RequestError : there is no such segment or kind
    """
    if category is not None and not category.strip():
        raise RequestError("the category is empty: give a path as in Food > Tea", field="category")
    for name, word, known in (("segment", segment, SEGMENTS), ("kind", kind, KINDS)):
        if word is not None and word not in known:
            raise RequestError(
                f"there is no {name} {word!r}{nearest(word, known) or '.'} There are: {', '.join(known)}",
                field=name,
            )
    return Filter(segment, kind, category)


def asked_preset(word: str) -> Preset:
    """What to hold the KPIs against.

    Raises
    ------
    RequestError : it is none of `Preset`
    """
    known: tuple[Preset, ...] = get_args(Preset)
    for preset in known:
        if word == preset:
            return preset
    raise RequestError(
        f"--against {word!r}{nearest(word, known) or '.'} There are: {', '.join(known)}", field="against"
    )


def past(end: datetime, now: datetime) -> datetime:
    """The end of what is measured.

    Raises
    ------
    RequestError : it has not come yet: its windows would pass for closed
    """
    if end > now:
        raise RequestError(
            f"until {end:%Y-%m-%d} lies in the future: give a day until today, the first that does not count",
            field="until",
        )
    return end


def measure_shop(
    settings: Settings,
    ledger: Ledger,
    start: datetime | None,
    end: datetime,
    progress: Progress = quiet,
    filter: Filter = EVERYTHING,
    preset: Preset = "previous",
    n_permutations: int | None = None,
) -> Measurement:
    """Measure every experiment, and count the KPIs, from `start` (default: the first assignment) until `end`.

    Parameters
    ----------
    filter : one segment, kind or category alone
    preset : what the KPIs of the window are held against
    n_permutations : default: as configured

    Raises
    ------
    MeasurementError : nobody is assigned yet, or the window is empty
    SourceError : the shop's history cannot be read
    """
    progress("ledger")
    drawn = list(_drawn(settings, ledger, end))
    window = Window(start or _first_of(drawn[0].table), end)
    questions = [_question(settings, one, window, filter, start is None) for one in drawn]
    with workspace(settings) as folder:
        progress("orders")
        history = load_history(settings, folder / "history", progress, open_source)
        progress("measure")
        with _records(settings, ledger, history, drawn, end, folder) as records:
            _known_category(records, filter.category)
            measured = measure(
                records,
                questions,
                Asked.of(settings, window, filter, preset),
                n_permutations=n_permutations or settings.measurement.permutations,
            )
    return replace(measured, warnings=_stale(settings, history, ledger, end))


def _known_category(records: Records, category: str | None) -> None:
    """Refuse a category that no product is in: nothing was bought in it, whatever was offered."""
    if category is None:
        return
    known = [
        path for (path,) in records.rows("SELECT DISTINCT category FROM given_catalogue WHERE category <> ''")
    ]
    parts = [" > ".join(part.strip() for part in path.split(">")) for path in known]
    paths = {
        " > ".join(path.split(" > ")[:depth]) for path in parts for depth in range(1, path.count(">") + 2)
    }
    asked = " > ".join(part.strip() for part in category.split(">"))
    if asked not in paths:
        raise RequestError(
            f"no product is in the category {category!r}{nearest(asked, paths) or '.'}", field="category"
        )


def _stale(settings: Settings, history: History, ledger: Ledger, end: datetime) -> tuple[Said, ...]:
    """That the orders end long before the days asked about."""
    live = pc.max(ledger.orders(only=("at",))["at"]).as_py()
    newest = history.last_order_at if live is None else max(history.last_order_at, live.replace(tzinfo=UTC))
    if end - newest <= timedelta(days=7):
        return ()
    return (
        said(
            "the newest order is of {newest}, {days} days before {end}: the days between count as days without orders",
            newest=f"{newest.astimezone(settings.zone):%Y-%m-%d}",
            days=(end - newest).days,
            end=f"{end.astimezone(settings.zone):%Y-%m-%d}",
        ),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """An experiment and everybody assigned in it: unit_id, group, assigned_at, stratum."""

    experiment: Experiment | Study
    table: pa.Table

    @property
    def named(self) -> pa.Table:
        """The assignments with the experiment's name and version."""
        n = len(self.table)
        name = pa.DictionaryArray.from_arrays(np.zeros(n, dtype=np.int8), [self.experiment.name])
        version = pa.array(np.full(n, self.experiment.version, dtype=np.int32))
        return self.table.append_column("experiment", name).append_column("version", version)


def _drawn(settings: Settings, ledger: Ledger, end: datetime) -> Iterator[Drawn]:
    """The permanent holdout, then every configured experiment that had begun by then."""
    holdout = Drawn(settings.experiment, ledger.assignments(settings.experiment))
    if len(holdout.table) == 0:
        raise MeasurementError(
            f"experiment {settings.experiment.name!r} version {settings.experiment.version} has no customer yet: "
            "serve offers (nextoffer serve) or export a campaign (nextoffer export NAME) first"
        )
    yield holdout
    for name, trial in sorted(settings.experiments.items()):
        study = Study(name, trial)
        table = ledger.assignments(study)
        if len(table) and _first_of(table) < end:
            yield Drawn(study, table)


def _first_of(assignments: pa.Table) -> datetime:
    """When the first unit was assigned."""
    first: datetime = pc.min(assignments["assigned_at"]).as_py().replace(tzinfo=UTC)
    return first


def _question(settings: Settings, drawn: Drawn, window: Window, filter: Filter, is_open: bool) -> Question:
    """What one look asks, and whether the ledger still says what was drawn. `is_open`: no start was named, so that all
    the time there is is looked at, tomorrow again."""
    experiment, days = drawn.experiment, settings.measurement.before_days
    n_altered = altered(drawn.table, experiment)
    look = Look(
        experiment.name,
        experiment.version,
        max(window.start, _first_of(drawn.table)),
        window.end,
        before_days=days,
        category=filter.category,
    )
    if isinstance(experiment, Experiment):
        cost = Asked.of(settings, window, filter, "previous").programme
        return Question(
            look,
            experiment.holdout_share,
            said("all offers"),
            is_open=is_open,
            programme=cost,
            n_altered=n_altered,
        )
    trial = experiment.trial
    look = replace(
        look,
        window_days=window_of(trial, settings.campaigns, windows(_windows(settings))),
        kinds=trial.kinds,
        campaigns=trial.campaigns,
        ends=None if trial.ends is None else as_of_moment(settings, trial.ends, window.end),
    )
    nth, planned, lasts = _looks(settings, trial, look)
    return Question(
        look,
        trial.holdout_share,
        _what(trial),
        experiment.exact,
        nth,
        planned,
        lasts,
        is_open=nth == 0 or lasts is None,
        n_altered=n_altered,
    )


def _looks(settings: Settings, trial: Trial, look: Look) -> tuple[int, int, timedelta | None]:
    """Which of the planned looks this is, of how many, and how long the trial was meant to last.

    Looks are planned where it is known when the trial is over: evenly, the last when its last window closes. 0: before
    the first of them, or without a plan.
    """
    if trial.starts is None or trial.ends is None:
        return 0, 1, None
    starts, ends = (as_of_moment(settings, day, look.end) for day in (trial.starts, trial.ends))
    lasts = ends - starts + timedelta(days=look.window_days or 0)
    planned = settings.measurement.looks
    return min(planned, int((look.end - starts) / lasts * planned)), planned, lasts


def _windows(settings: Settings) -> dict[str, int]:
    return {str(kind): days for kind, days in settings.measurement.window_days.items()}


def _what(trial: Trial) -> Said:
    """What a trial keeps back, in words."""
    campaigns = ", ".join(trial.campaigns)
    if not trial.kinds:
        return said("{what} alone", what=campaigns)
    kinds = listed([kind_name(kind) for kind in trial.kinds])
    if campaigns:
        return said("{kinds} in {campaigns}", kinds=kinds, campaigns=campaigns)
    return said("{what} alone", what=kinds)


@contextmanager
def _records(
    settings: Settings,
    ledger: Ledger,
    history: History,
    drawn: Sequence[Drawn],
    end: datetime,
    folder: Path,
) -> Iterator[Records]:
    """The shop's history and the ledger until `end`, side by side. Orders go on: what came back later is no income."""

    def table(name: str) -> Path | None:
        return history.folder / f"{name}.parquet" if name in history.given else None

    spill = folder / "spill"
    spill.mkdir()
    with Records.open(
        orders=history.folder / "orders.parquet",
        products=history.folder / "products.parquet",
        customers=table("customers"),
        surveys=table("surveys"),
        segments=_segments(settings),
        live_orders=ledger.orders(only=tuple(GIVEN["live"])),
        assignments=pa.concat_tables(one.named for one in drawn),
        decisions=ledger.decisions(until=end, only=tuple(GIVEN["decided"])),
        events=ledger.events(until=end, only=tuple(GIVEN["happened"]), types=_MET),
        identities=ledger.identities(),
        costs=Costs.of(settings),
        window_days=_windows(settings),
        currency=settings.currency,
        margin_share=settings.margin.default_share,
        memory_limit=settings.engine.memory_limit or MEMORY_LIMIT,
        temp_directory=spill,
        threads=settings.engine.threads,
    ) as records:
        yield records


def _segments(settings: Settings) -> pa.Table | None:
    """The segment of every customer of the bundle in service; None without a bundle: nothing rests on it."""
    try:
        bundle = open_bundle(settings.models_dir, currency=settings.currency)
    except BundleError:
        return None
    codes = pa.array(np.asarray(bundle.knowledge.customers.segment).astype(np.int8))
    return pa.table(
        {
            "customer_id": bundle.customer_ids.ids.to_arrow(),
            "segment": pa.DictionaryArray.from_arrays(codes, list(SEGMENTS)),
        }
    )
