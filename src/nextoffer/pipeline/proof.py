"""What happened, and what the offers caused: records into the ledger, the ledger against the orders."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq

from nextoffer.config import Settings
from nextoffer.errors import MeasurementError
from nextoffer.measurement.report import Measurement, measure
from nextoffer.pipeline.workspace import Progress, quiet, workspace
from nextoffer.plugins import open_source
from nextoffer.sources.load import load_history
from nextoffer.tracking.ledger import Ledger
from nextoffer.tracking.record import RecordReport, record_file
from nextoffer.tracking.schema import from_micros, to_micros


def record(settings: Settings, ledger: Ledger, path: Path, now: datetime | None = None) -> RecordReport:
    """Import exposures, clicks, redemptions or orders; what is there already is counted, not written again.

    `now` is when we were told: what lies after it is refused. Without it nothing is.
    """
    return record_file(ledger, path, settings.zone, settings.currency, now)


def measure_shop(
    settings: Settings,
    ledger: Ledger,
    start: datetime | None,
    end: datetime,
    progress: Progress = quiet,
    n_permutations: int = 9_999,
) -> Measurement:
    """Measure the running experiment from `start` (default: its first assignment) until `end`.

    Raises
    ------
    MeasurementError : nobody is assigned yet, or the window is empty
    SourceError : the shop's history cannot be read
    """
    assignments = ledger.assignments(settings.experiment)
    if len(assignments) == 0:
        raise MeasurementError(
            f"experiment {settings.experiment.name!r} version {settings.experiment.version} has no customer yet: "
            "serve offers (nextoffer serve) or export a campaign (nextoffer export NAME) first"
        )
    if start is None:
        first = min(assignments["assigned_at"].to_pylist())
        start = first if isinstance(first, datetime) else from_micros(first)
        start = from_micros(to_micros(start))
    with workspace(settings) as folder:
        progress("orders")
        history = load_history(settings, folder / "history", progress, open_source)
        progress("measure")
        given = "customers" in history.given
        return measure(
            orders=pq.read_table(history.folder / "orders.parquet"),
            live_orders=ledger.orders(),
            assignments=assignments,
            decisions=ledger.decisions(),
            events=ledger.events(),
            customers=pq.read_table(history.folder / "customers.parquet") if given else None,
            experiment=settings.experiment,
            currency=settings.currency,
            start=start,
            end=end,
            margin_share=settings.margin.default_share,
            contact_cost=settings.contact.cost,
            programme_cost=settings.programme.costs,
            n_permutations=n_permutations,
        )
