"""Group commit: many requests, one transaction. Whoever waits here is answered after the rows are on disk.

One thread writes. What arrives while it commits is gathered into the next batch, so that under load one
flush to disk serves many requests, and a lone request waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from threading import Lock
from typing import Any, Final, Generic, Protocol, TypeVar

import numpy as np
from sqlalchemy import Engine

from nextoffer.config import Experiment
from nextoffer.domain.arrays import Bools, Ints
from nextoffer.errors import LedgerError
from nextoffer.tracking.codes import Codes, Grant
from nextoffer.tracking.experiments import Study, held_out_of, withhold
from nextoffer.tracking.grants import with_codes
from nextoffer.tracking.identities import customers_of
from nextoffer.tracking.schema import HOLDOUT, TREATED, Decision, Event

UNASSIGNED: Final = "unassigned"
MAX_WAITING: Final = 4096

StudiesAt = Callable[[datetime], Sequence[Study]]
Item = TypeVar("Item")
Answer = TypeVar("Answer")


class LedgerPort(Protocol):
    """What the API needs of the ledger (tracking.ledger.Ledger)."""

    @property
    def engine(self) -> Engine:
        """Its database."""

    @property
    def codes(self) -> Codes:
        """The codes it issued."""

    def assign(
        self,
        experiment: Experiment | Study,
        unit_ids: Sequence[str],
        at: datetime,
        strata: Sequence[str | None] | None = None,
    ) -> Bools:
        """(n,) True for units of the holdout; new units are assigned."""

    def record_decisions(self, decisions: Sequence[Decision]) -> int:
        """Write decisions; how many were new."""

    def record_events(self, events: Sequence[Event]) -> tuple[int, int, tuple[str, ...]]:
        """Write events: n accepted, n duplicates, ids of the duplicates."""

    def orders_of(self, unit_id: str, since: datetime) -> tuple[str, ...]:
        """Products bought live since a moment."""

    def recent_interactions(
        self, unit_id: str, since: datetime, limit: int = 100
    ) -> list[tuple[str, str, datetime]]:
        """(product id, event type, moment) of what a unit looked at or put in the cart, newest first."""

    def units_sold(self, since: datetime) -> dict[str, float]:
        """Units of each product the whole shop sold live since a moment."""

    def decision(self, decision_id: str) -> Decision | None:
        """The decision an attribution token stands for."""

    def concurrency_warning(self, n_writers: int) -> str | None:
        """What to tell an operator when so many processes should not write."""

    def close(self) -> None:
        """Let go of the connections."""


@dataclass(slots=True)
class _Batch(Generic[Item, Answer]):
    items: list[Item] = field(default_factory=list)
    done: Future[list[Answer]] | None = None


class GroupWriter(Generic[Item, Answer]):
    """Gathers items while the writer is busy and commits them together, in the order they came.

    Parameters
    ----------
    commit : writes a batch durably and returns one answer for each item
    """

    def __init__(self, commit: Callable[[list[Item]], list[Answer]], max_waiting: int = MAX_WAITING) -> None:
        self._commit, self._max_waiting = commit, max_waiting
        self._lock = Lock()
        self._open: _Batch[Item, Answer] | None = None
        self._writer = ThreadPoolExecutor(1, "nextoffer-ledger")

    async def write(self, item: Item) -> Answer:
        """Commit one item, with whatever else is waiting, and return its answer.

        Raises
        ------
        LedgerError : the commit failed, or too many requests wait already; nothing was recorded.
        """
        done, position = self._join(item)
        # Shielded: one client that hangs up must not cancel the commit of the others.
        answers = await asyncio.shield(asyncio.wrap_future(done))
        return answers[position]

    def close(self) -> None:
        """Commit what is waiting, then stop."""
        self._writer.shutdown(wait=True)

    def _join(self, item: Item) -> tuple[Future[list[Answer]], int]:
        with self._lock:
            batch = self._open
            if batch is None:
                batch = _Batch()
                batch.done = self._writer.submit(self._write_batch, batch)
                self._open = batch
            if batch.done is None or len(batch.items) >= self._max_waiting:
                raise LedgerError(f"{self._max_waiting} requests are waiting for the ledger already")
            batch.items.append(item)
            return batch.done, len(batch.items) - 1

    def _write_batch(self, batch: _Batch[Item, Answer]) -> list[Answer]:
        with self._lock:
            self._open = None  # whoever comes now joins the next batch
        return self._commit(batch.items)


@dataclass(frozen=True, slots=True)
class ToRecord:
    """What one request leaves in the ledger: a decision whose group is not yet known, or events.

    `grants` are what the decision's offers grant to a treated customer, `stratum` the customer's segment if known.
    `anonymous`: the decision's unit is a visitor, of whom the request said no more.
    """

    decision: Decision | None = None
    events: tuple[Event, ...] = ()
    grants: tuple[Grant, ...] = ()
    stratum: str | None = None
    anonymous: bool = False


@dataclass(frozen=True, slots=True)
class Recorded:
    """The group of the decision's unit and what is left of its slate, with codes, or what became of the events."""

    group: str = UNASSIGNED
    accepted: int = 0
    duplicates: int = 0
    slate: Sequence[Mapping[str, Any]] = ()


def recorder(
    ledger: LedgerPort,
    experiment: Experiment,
    studies_at: StudiesAt = lambda _: (),
) -> Callable[[list[ToRecord]], list[Recorded]]:
    """The commit of the API: assignments, codes of what leaves, decisions with their groups, ghosts, then events.

    Parameters
    ----------
    studies_at : the experiments of the site that run at a moment
    """

    def commit(batch: list[ToRecord]) -> list[Recorded]:
        batch = _as_customers(ledger, batch)
        groups = _groups(ledger, experiment, batch)
        left, ghosts = _held_back(ledger, studies_at, [_grouped(item, groups) for item in batch])
        decided = _with_codes(ledger, left)
        ledger.record_decisions([*(decision for decision in decided if decision), *ghosts])
        counts = _counts(ledger, [item.events for item in batch])
        return [
            Recorded(decision.group if decision else UNASSIGNED, *count, decision.slate if decision else ())
            for decision, count in zip(decided, counts, strict=True)
        ]

    return commit


def _as_customers(ledger: LedgerPort, batch: list[ToRecord]) -> list[ToRecord]:
    """The batch with visitors who turned out to be one customer in that customer's place: one person, one group.

    What they are shown stays what was made for a visitor.
    """
    visitors = {item.decision.unit_id for item in batch if item.anonymous and item.decision}
    known = customers_of(ledger.engine, sorted(visitors)) if visitors else {}
    if not known:
        return batch
    strata = {item.decision.unit_id: item.stratum for item in batch if item.decision and not item.anonymous}
    merged = list(batch)
    for place, item in enumerate(batch):
        if item.anonymous and item.decision and (customer := known.get(item.decision.unit_id)):
            decision = replace(item.decision, unit_id=customer)
            merged[place] = replace(item, decision=decision, stratum=strata.get(customer))
    return merged


def _grouped(item: ToRecord, groups: dict[str, str]) -> ToRecord:
    if item.decision is None:
        return item
    group = groups.get(item.decision.unit_id, UNASSIGNED)
    return replace(item, decision=replace(item.decision, group=group))


def _with_codes(ledger: LedgerPort, batch: list[ToRecord]) -> list[Decision | None]:
    """The decisions, those of treated units with a code in each offer that grants something."""
    granted = [
        item.grants if item.decision is not None and item.decision.group == TREATED else () for item in batch
    ]
    codes = iter(
        ledger.codes.issue([grant for grants in granted for grant in grants]) if any(granted) else ()
    )
    return [
        replace(item.decision, slate=with_codes(item.decision.slate, list(islice(codes, len(grants)))))
        if item.decision is not None and grants
        else item.decision
        for item, grants in zip(batch, granted, strict=True)
    ]


def _groups(ledger: LedgerPort, experiment: Experiment, batch: list[ToRecord]) -> dict[str, str]:
    """unit -> group, assigning the units that are new; units without a name are never assigned."""
    asked = [(item.decision, item.stratum) for item in batch if item.decision and item.decision.unit_id]
    if not asked:
        return {}
    strata = {decision.unit_id: stratum for decision, stratum in asked}
    held_out = ledger.assign(experiment, list(strata), asked[0][0].at, list(strata.values()))
    return {unit: HOLDOUT if out else TREATED for unit, out in zip(strata, held_out.tolist(), strict=True)}


def _held_back(
    ledger: LedgerPort, studies_at: StudiesAt, batch: list[ToRecord]
) -> tuple[list[ToRecord], list[Decision]]:
    """The batch without what experiments hold back from treated units, and the ghosts of that."""
    treated = [
        (place, item.decision, item.stratum)
        for place, item in enumerate(batch)
        if item.decision is not None and item.decision.group == TREATED
    ]
    studies = studies_at(treated[0][1].at) if treated else ()
    if not studies:
        return batch, []
    places, decisions, strata = zip(*treated, strict=True)

    def reached(study: Study) -> Ints:
        covers = (any(study.covers(offer, None) for offer in one.slate) for one in decisions)
        return np.flatnonzero(np.fromiter(covers, bool, len(decisions)))

    units = [one.unit_id for one in decisions]
    holding = held_out_of(ledger.assign, studies, units, strata, decisions[0].at, reached)
    left, ghosts = list(batch), list[Decision]()
    for place, decision, held_by in zip(places, decisions, holding, strict=True):
        if held_by:
            rest, back = withhold(decision, held_by)
            leaving = {offer["offer_id"] for offer in rest.slate}
            grants = tuple(grant for grant in batch[place].grants if grant.offer_id in leaving)
            left[place] = replace(batch[place], decision=rest, grants=grants)
            ghosts += back
    return left, ghosts


def _counts(ledger: LedgerPort, requests: list[tuple[Event, ...]]) -> list[tuple[int, int]]:
    """(accepted, duplicates) of each request, when all are written together."""
    events = [event for request in requests for event in request]
    if not events:
        return [(0, 0)] * len(requests)
    _, _, repeated = ledger.record_events(events)
    known = Counter(repeated)
    new = {name for name, times in Counter(event.event_id for event in events).items() if times > known[name]}
    counts = []
    for request in requests:
        accepted = 0
        for event in request:
            if event.event_id in new:
                new.discard(event.event_id)
                accepted += 1
        counts.append((accepted, len(request) - accepted))
    return counts
