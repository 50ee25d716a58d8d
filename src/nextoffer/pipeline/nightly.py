"""The nightly job: read, learn, judge, score every customer, publish. And the backtest, cooked the same way."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, time, timedelta
from typing import Any

import numpy as np

from nextoffer import __version__
from nextoffer.backtest import CUTS, backtest, judge
from nextoffer.bundle.bundle import LANGUAGES, Bundle, CustomerIds, StoredCandidates, open_bundle, write_parts
from nextoffer.bundle.lock import nightly_lock
from nextoffer.bundle.store import Manifest, stage
from nextoffer.config import Settings
from nextoffer.domain.arrays import Strings
from nextoffer.domain.history import History
from nextoffer.domain.offers import Candidates
from nextoffer.errors import BundleError, NoBundleError, TooLittleHistoryError
from nextoffer.features.build import known_catalogue
from nextoffer.features.catalogue import Catalogue, read_languages
from nextoffer.features.diary import Diary, read_diary
from nextoffer.models.knowledge import Knowledge
from nextoffer.models.recipe import Before, Kitchen, Past, learn_all
from nextoffer.models.taught import TOO_SHORT, Taught, can_score
from nextoffer.offers.batch import KindSettings
from nextoffer.offers.recommend import score
from nextoffer.pipeline.gate import Verdict, gate
from nextoffer.pipeline.selftest import self_test_of, verify_self_test
from nextoffer.pipeline.workspace import Progress, Stopwatch, quiet, settings_hash, stale_warning, workspace
from nextoffer.plugins import offer_kinds, open_source
from nextoffer.sources.load import load_history

RETEACH_DAYS = 7  # what was taught serves so long: knowledge is new every night, habits are not
BLOCK = 10_000  # customers scored at a time: memory is set by this and the number of threads, not the shop


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What the nightly job did, as `train --json` prints it."""

    bundle_id: str | None
    as_of: str
    published: bool
    rows: dict[str, Any]
    customers: int
    products: int
    seconds: dict[str, float]
    peak_rss_mb: float
    quality: dict[str, Any]
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        return asdict(self)


def train(
    settings: Settings,
    as_of: datetime,
    *,
    signing_key: str | None = None,
    dry_run: bool = False,
    reteach: bool | None = None,
    progress: Progress = quiet,
) -> TrainReport:
    """Learn from the shop's history before `as_of` and put a checked bundle in service.

    Parameters
    ----------
    reteach : True teaches the ranker and its like anew, False takes those in service if they fit at all; None
        takes them for RETEACH_DAYS

    Raises
    ------
    SourceError, TrainingError : the data cannot be learned from
    BusyError : another nightly job is running
    GateRefusedError : tonight's recipe is worse; what served before still serves
    """
    watch = Stopwatch(progress)
    with nightly_lock(settings.models_dir), _kitchen(settings, as_of, watch) as (kitchen, history):
        before = _in_service(settings, signing_key)
        past = Past.of(kitchen, history.first_order_at, as_of)
        with watch.stage("teach"):
            taught = _still_good(settings, as_of, before, reteach) or past.taught(as_of)
        with watch.stage("judge"):
            verdict = _judge_tonight(past, settings, as_of, taught, before)
        with watch.stage("learn"):
            learned = learn_all(kitchen, as_of, _left_by(before, as_of))
        with watch.stage("score"):
            when = KindSettings.of(settings, as_of)
            diary = diary_of(kitchen, as_of, learned.customer_ids, settings.timezone, when)
            parts = learned.customer_ids, learned.knowledge, taught, diary
            bundle = score_all(kitchen, as_of, *parts, when)
        with watch.stage("publish"):
            quality = verdict.quality | taught.to_json() | learned.quality
            manifest = _manifest(settings, as_of, history, bundle, quality, watch)
            bundle_id = None if dry_run else _publish(settings, bundle, manifest, signing_key)
    return TrainReport(
        bundle_id=bundle_id,
        as_of=as_of.isoformat(),
        published=bundle_id is not None,
        rows={name: _row_counts(report) for name, report in history.reports.items()},
        customers=len(learned.customer_ids),
        products=len(bundle.catalogue),
        seconds=watch.seconds,
        peak_rss_mb=round(peak_rss_mb(), 1),
        quality=quality,
        warnings=[*_warnings(settings, history, as_of), *verdict.warnings],
    )


def run_backtest(
    settings: Settings,
    as_of: datetime | None = None,
    horizon_days: int | None = None,
    progress: Progress = quiet,
    n_cuts: int = CUTS,
) -> dict[str, Any]:
    """Learn before `as_of`, score the `horizon_days` after it: nextoffer beside every named baseline.

    The same at up to `n_cuts` − 1 earlier cut-offs. By default `as_of` is the latest day with a whole horizon
    of orders after it.

    Raises
    ------
    SourceError : the data cannot be read
    TooLittleHistoryError : there is nothing before `as_of`, or nobody bought anything after it
    """
    if horizon_days is not None:
        settings = settings.model_copy(update={"horizon_days": horizon_days})
    watch = Stopwatch(progress)
    with _kitchen(settings, as_of, watch) as (kitchen, history):
        cut, warnings = _cut_to_judge(settings, history, as_of)
        with watch.stage("backtest"):
            result = backtest(Past.of(kitchen, history.first_order_at, cut), cut, n_cuts)
    if len(result["cuts"]) < n_cuts:
        warnings.append(f"the history has room for {len(result['cuts'])} of {n_cuts} cut-offs")
    return result | {"warnings": warnings, "seconds": watch.seconds, "peak_rss_mb": round(peak_rss_mb(), 1)}


def _cut_to_judge(settings: Settings, history: History, as_of: datetime | None) -> tuple[datetime, list[str]]:
    """The cut-off asked for, else the latest with a whole horizon of orders after it; and what is short of it."""
    zone, days = settings.zone, settings.horizon_days
    end = datetime.combine(history.last_order_at.astimezone(zone).date() + timedelta(days=1), time(), zone)
    latest = datetime.combine(end.date() - timedelta(days=days), time(), zone)
    cut = as_of or latest
    if cut > history.last_order_at:
        raise TooLittleHistoryError(
            f"Nothing could be judged: the newest order is of {end - timedelta(days=1):%Y-%m-%d}, none is from "
            f"{cut:%Y-%m-%d} on. Choose an earlier --as-of; {latest:%Y-%m-%d} is the latest with {days} days of "
            "orders after it."
        )
    if cut <= latest:
        return cut, []
    there = (end.date() - cut.astimezone(zone).date()).days
    text = f"only {there} of the {days} days from {cut:%Y-%m-%d} are there to score, so the figures mislead"
    return cut, [f"{text}; {latest:%Y-%m-%d} is the latest cut-off with all of them"]


@contextmanager
def check(settings: Settings, progress: Progress = quiet) -> Iterator[History]:
    """Read and validate everything; the canonical tables are there for as long as the context lasts."""
    with workspace(settings) as folder:
        yield load_history(settings, folder / "history", progress, open_source)


def diary_of(kitchen: Kitchen, as_of: datetime, ids: Strings, timezone: str, when: KindSettings) -> Diary:
    """Days, passes and interest of the customers, from the canonical tables."""
    return read_diary(
        kitchen.engine,
        kitchen.scratch / "diary",
        ids,
        kitchen.catalogue.ids,
        as_of,
        timezone,
        kitchen.horizon_days,
        when.abandoned_days,
        when.abandoned_hours,
    )


def score_all(
    kitchen: Kitchen,
    as_of: datetime,
    ids: Strings,
    knowledge: Knowledge,
    taught: Taught,
    diary: Diary,
    when: KindSettings,
) -> Bundle:
    """Tonight's bundle: every customer's candidates, scored block by block on all cores."""
    from joblib import Parallel, delayed, effective_n_jobs
    from threadpoolctl import threadpool_limits

    nothing = Candidates(*(np.zeros(0, dtype) for dtype in ("i4", "i1", "i4", "i4", "i1", "f4", "i2")))
    parts = (
        CustomerIds(ids, read_languages(kitchen.engine, ids, LANGUAGES)),
        kitchen.catalogue,
        knowledge,
        taught,
    )
    bare = Bundle.make("", as_of, *parts, StoredCandidates.of(nothing, len(ids)), diary=diary)

    kinds = offer_kinds()

    def score_block(start: int) -> Candidates:
        rows = np.arange(start, min(start + BLOCK, len(ids)))
        found = score(bare, rows, kinds, when)
        return Candidates(found.customer + np.int32(start), *(getattr(found, n) for n in found.__slots__[1:]))

    jobs = Parallel(n_jobs=effective_n_jobs(-1), prefer="threads", return_as="generator")
    with threadpool_limits(1, "blas"):  # one limit for all threads: each setting its own would race
        blocks = list(jobs(delayed(score_block)(start) for start in range(0, len(ids), BLOCK)))
    stored = StoredCandidates.of(Candidates.concat(blocks), len(ids))
    return Bundle.make("", as_of, *parts, stored, diary=diary)


def peak_rss_mb() -> float:
    """The most memory this process has held, in MiB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


@contextmanager
def _kitchen(
    settings: Settings, as_of: datetime | None, watch: Stopwatch
) -> Iterator[tuple[Kitchen, History]]:
    """Everything the recipe needs, from the shop's files: read, checked, with an engine over it."""
    from nextoffer.engines.duckdb import DuckDBEngine

    with workspace(settings) as folder:
        with watch.stage("read"):
            history = load_history(settings, folder / "history", watch.progress, open_source)
        scratch = folder / "scratch"
        scratch.mkdir()
        with DuckDBEngine(settings.engine, scratch) as engine:
            engine.tables(history.folder)
            derived = "products" not in history.given
            shop = settings.currency, settings.margin.default_share, derived

            def known(moment: datetime) -> Catalogue:
                return known_catalogue(engine, scratch, moment, *shop)

            yield (
                Kitchen(
                    engine,
                    history.folder,
                    scratch,
                    known(as_of or history.last_order_at),
                    settings.horizon_days,
                    settings.seed,
                    watch.progress,
                    known if derived else None,
                ),
                history,
            )


def _judge_tonight(
    past: Past, settings: Settings, as_of: datetime, tonight: Taught, before: Bundle | None
) -> Verdict:
    """Judge tonight's recipe one horizon ago, where the answer is known.

    What is taught anew is judged by what the cut-off's own lessons teach, which saw none of its answers. What an
    earlier night taught passed that then: it is judged as it stands, which shows a history gone wrong.
    """
    horizon = timedelta(days=settings.horizon_days)
    if as_of - past.first_order_at < horizon * 2:
        text = (
            f"the history is shorter than two horizons ({2 * settings.horizon_days} days): tonight's bundle "
            "could not be judged, and its p_buy comes from combined scores, not from a taught ranker"
        )
        return Verdict({"judged": False}, [text])
    cut = past.cut(as_of - horizon)
    stored = before is not None and tonight is before.taught
    quality = judge(past, tonight if stored else past.taught(as_of - horizon), cut)
    quality["saw_the_answers"] = stored
    return gate(quality, cut, tonight.ranker, before, settings.gate.tolerance)


def _still_good(
    settings: Settings, as_of: datetime, before: Bundle | None, reteach: bool | None
) -> Taught | None:
    """What the bundle in service was taught, where tonight can go on with it."""
    manifest = None if before is None else before.manifest
    if before is None or manifest is None or reteach or before.taught.at > as_of:
        return None
    same = (
        manifest.settings_hash == settings_hash(settings)
        and manifest.created_by.get("nextoffer") == __version__
        and before.taught.reason != TOO_SHORT
        and can_score(before.taught)
    )
    fresh = as_of - before.taught.at < timedelta(days=RETEACH_DAYS)
    return before.taught if same and (fresh or reteach is False) else None


def _left_by(before: Bundle | None, as_of: datetime) -> Before | None:
    """What last night leaves; of tonight's own bundle, run again, no vote for a name, so that it stays the same."""
    if before is None:
        return None
    customers = before.knowledge.customers
    candidate = customers.segment_candidate
    if before.as_of >= as_of:
        candidate = np.full_like(candidate, -1)
    return Before(before.knowledge.segments, before.customer_ids.ids, customers.segment, candidate)


def _publish(settings: Settings, bundle: Bundle, manifest: Manifest, signing_key: str | None) -> str:
    with stage(settings.models_dir) as staging:
        write_parts(staging, bundle)
        return staging.publish(manifest, signing_key)


def _manifest(
    settings: Settings,
    as_of: datetime,
    history: History,
    bundle: Bundle,
    quality: dict[str, Any],
    watch: Stopwatch,
) -> Manifest:
    rows: dict[str, Any] = {name: _row_counts(report) for name, report in history.reports.items()}
    rows |= {"customers": len(bundle.customer_ids.ids), "products": len(bundle.catalogue)}
    return Manifest(
        as_of=as_of,
        seed=settings.seed,
        settings_hash=settings_hash(settings),
        created_by={"nextoffer": __version__, "numpy": np.__version__},
        rows=rows | {"horizon_days": settings.horizon_days},
        quality=quality,
        taught=bundle.taught.to_json(),
        self_test=self_test_of(bundle),
        seconds=dict(watch.seconds),
    )


def _in_service(settings: Settings, signing_key: str | None) -> Bundle | None:
    """The bundle that serves now; None before the first, or when it cannot be read (its format may be old)."""
    try:
        return open_bundle(settings.models_dir, signing_key=signing_key, self_test=verify_self_test)
    except (NoBundleError, BundleError):
        return None


def _row_counts(report: Any) -> dict[str, int]:
    names = ("read", "accepted", "rejected", "excluded", "guests")
    return {name: int(getattr(report, name)) for name in names}


def _warnings(settings: Settings, history: History, as_of: datetime) -> list[str]:
    stale = stale_warning(settings, history.last_order_at, as_of)
    return [*history.warnings, *([stale] if stale else [])]
