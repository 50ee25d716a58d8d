"""The ledger: append-only rows of who was assigned, what was decided and what happened.

Every method that writes returns only after the rows are on disk. Writing the same row twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta, tzinfo

import orjson
import pyarrow as pa
from sqlalchemy import Engine, Table, and_, case, func, select

from nextoffer.config import Experiment
from nextoffer.domain.arrays import Bools, Ints
from nextoffer.tracking import assigning, columns, database, identities, queries, schema
from nextoffer.tracking.codes import Codes
from nextoffer.tracking.experiments import Study
from nextoffer.tracking.schema import Decision, Event

_SEEN = ("detail-page-view", "add-to-cart", "remove-from-cart")


def open_ledger(url: str, *, checkpoints: bool = True) -> Ledger:
    """The ledger at a database URL; its folder and tables are made if missing.

    Parameters
    ----------
    url : `sqlite:///path` or `postgresql+psycopg://…`
    checkpoints : False for all but one of several processes that write to the same SQLite file

    Raises
    ------
    LedgerError : it cannot be opened, or a newer version wrote it.
    """
    return Ledger(database.connect(url, checkpoints=checkpoints))


class Ledger:
    """One open ledger; threads may share it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._codes = Codes(engine)
        self._registered: set[assigning.Registered] = set()

    @property
    def codes(self) -> Codes:
        """The codes it issued, to validate, redeem and roll back."""
        return self._codes

    @property
    def engine(self) -> Engine:
        """The database, for whole queries of this package."""
        return self._engine

    def close(self) -> None:
        """Let go of the connections."""
        self._engine.dispose()

    def checkpoint(self) -> None:
        """Empty SQLite's write-ahead log into the file: one process does this, now and then."""
        database.checkpoint(self._engine)

    def concurrency_warning(self, n_writers: int) -> str | None:
        """What to tell an operator when `n_writers` processes should not write here; None if they may."""
        return database.concurrency_warning(self._engine, n_writers)

    # -- writing

    def assign(
        self,
        experiment: Experiment | Study,
        unit_ids: Sequence[str],
        at: datetime,
        strata: Sequence[str | None] | None = None,
    ) -> Bools:
        """True for the units of the holdout, as the ledger says; units not yet there are assigned now.

        An assignment is written once and never changed. With the first one the experiment's terms are registered.

        Parameters
        ----------
        strata : the segment of each unit at this moment, None where it is not known

        Returns
        -------
        (n,) bool in_holdout, in the order of `unit_ids`

        Raises
        ------
        ConfigError : this version of the experiment was begun under other terms.
        """
        return assigning.assign(self._engine, experiment, unit_ids, at, strata, self._registered)

    def record_decisions(self, decisions: Sequence[Decision]) -> int:
        """Write decisions before they leave the house; one already there is left as it is. Returns how many
        were new."""
        if not decisions:
            return 0
        rows = [schema.decision_row(decision) for decision in decisions]
        with database.writing(self._engine) as connection:
            return len(queries.add(connection, schema.decisions, rows))

    def record_events(self, events: Sequence[Event]) -> tuple[int, int, tuple[str, ...]]:
        """Write events, the orders they carry and the visitors they name, once each, in one transaction.

        Returns
        -------
        (n accepted, n duplicates, ids of the duplicates), counting by event id; an order already known under
        its order id is not written again.
        """
        if not events:
            return 0, 0, ()
        first: dict[str, Event] = {}
        for event in events:
            first.setdefault(event.event_id, event)
        rows = [schema.event_row(event) for event in first.values()]
        with database.writing(self._engine) as connection:
            new = queries.add(connection, schema.events, rows)
            # an event that was there before brought its order, and who it was, with it then
            fresh = [event for name, event in first.items() if name in new]
            orders = [schema.order_row(event.order) for event in fresh if event.order is not None]
            queries.add(connection, schema.orders, orders)
            queries.add(connection, schema.identities, identities.links(connection, fresh))
        duplicates = queries.repeated([event.event_id for event in events], new)
        return len(events) - len(duplicates), len(duplicates), duplicates

    def record_orders(self, orders: Sequence[schema.Order]) -> tuple[int, int, tuple[str, ...]]:
        """Write orders, once per order id: (n accepted, n duplicates, ids of the duplicates)."""
        if not orders:
            return 0, 0, ()
        rows = [schema.order_row(order) for order in orders]
        with database.writing(self._engine) as connection:
            new = queries.add(connection, schema.orders, rows)
        duplicates = queries.repeated([order.order_id for order in orders], new)
        return len(orders) - len(duplicates), len(duplicates), duplicates

    # -- questions about a few units

    def decision(self, decision_id: str) -> Decision | None:
        """The decision an attribution token stands for."""
        table = schema.decisions
        with database.reading(self._engine) as connection:
            row = connection.execute(select(table).where(table.c.decision_id == decision_id)).first()
        return None if row is None else schema.decision_of(dict(row._mapping))

    def decisions_of_run(self, campaign: str, run_on: date) -> list[Decision]:
        """What a campaign run recorded, both groups, sorted by unit and id; empty if it never ran."""
        table = schema.decisions
        query = (
            select(table)
            .where(table.c.campaign == campaign, table.c.run_on == run_on.isoformat())
            .order_by(*queries.by_bytes(self._engine, table.c.unit_id, table.c.decision_id))
        )
        with database.reading(self._engine) as connection:
            return [schema.decision_of(dict(row)) for row in connection.execute(query).mappings()]

    def contacts(
        self,
        unit_ids: Sequence[str],
        now: datetime,
        zone: tzinfo,
        except_run: tuple[str, date] | None = None,
    ) -> tuple[Ints, Ints]:
        """Messages for each unit on the shop's local day of `now`, and on the seven days ending with it.

        A message is a campaign's decision with at least one offer, also one that was not sent because the unit is
        held out: were only the treated capped, the customers a later campaign reaches in the two groups would be
        other people. What leaves and what experiments hold back of it are one message, of one run. What a site
        showed does not count, nor does the run `except_run` (campaign, run_on), so that it can be repeated.

        Returns
        -------
        ((n,) int64 today, (n,) int64 in seven days), in the order of `unit_ids`
        """
        table = schema.decisions
        today = queries.aware(now).astimezone(zone).date()
        is_today = case((queries.on_days(table, today, today, zone), 1), else_=0)
        query = (
            select(table.c.unit_id, func.max(is_today).label("today"))
            .where(
                table.c.campaign.is_not(None),
                table.c.slate != "[]",
                queries.on_days(table, today - timedelta(days=6), today, zone),
            )
            .group_by(table.c.unit_id, table.c.campaign, queries.run_of(table))
        )
        if except_run is not None:
            campaign, run_on = except_run
            same = and_(table.c.campaign == campaign, table.c.run_on.is_not_distinct_from(run_on.isoformat()))
            query = query.where(~same)
        rows: list[tuple[str, int, int]] = []
        with database.reading(self._engine) as connection:
            for wanted in queries.narrowed(query, table.c.unit_id, unit_ids):
                one = wanted.subquery()
                counts = select(one.c.unit_id, func.sum(one.c.today), func.count(1)).group_by(one.c.unit_id)
                rows += [(unit, day, week) for unit, day, week in connection.execute(counts)]
        return queries.aligned(unit_ids, rows)

    def orders_of(self, unit_id: str, since: datetime) -> tuple[str, ...]:
        """Product ids a unit bought live since a moment (net of returns), sorted."""
        table = schema.orders
        query = select(table.c.lines).where(table.c.unit_id == unit_id, table.c.at >= schema.to_micros(since))
        net: dict[str, float] = {}
        with database.reading(self._engine) as connection:
            for lines in connection.execute(query).scalars():
                for line in orjson.loads(lines):
                    net[line["product_id"]] = net.get(line["product_id"], 0.0) + float(line["quantity"])
        return tuple(sorted(product for product, quantity in net.items() if quantity > 0))

    def units_sold(self, since: datetime) -> dict[str, float]:
        """Units of each product the whole shop sold live since a moment, net of returns."""
        table = schema.orders
        net: dict[str, float] = {}
        with database.reading(self._engine) as connection:
            query = select(table.c.lines).where(table.c.at >= schema.to_micros(since))
            for lines in connection.execute(query).scalars():
                for line in orjson.loads(lines):
                    net[line["product_id"]] = net.get(line["product_id"], 0.0) + float(line["quantity"])
        return net

    def recent_interactions(
        self, unit_id: str, since: datetime, limit: int = 100
    ) -> list[tuple[str, str, datetime]]:
        """(product id, event type, moment) of what a unit looked at or put in the cart, newest first."""
        table = schema.events
        query = (
            select(table.c.product_id, table.c.type, table.c.at)
            .where(
                table.c.unit_id == unit_id,
                table.c.at >= schema.to_micros(since),
                table.c.type.in_(_SEEN),
                table.c.product_id.is_not(None),
            )
            .order_by(table.c.at.desc(), *queries.by_bytes(self._engine, table.c.event_id))
            .limit(limit)
        )
        with database.reading(self._engine) as connection:
            return [
                (product, kind, schema.from_micros(at)) for product, kind, at in connection.execute(query)
            ]

    # -- whole tables, for measurement

    def assignments(self, experiment: Experiment | Study) -> pa.Table:
        """Everybody assigned in an experiment's version: unit_id, group, assigned_at, stratum; sorted by unit."""
        return columns.whole(
            self._engine,
            schema.assignments,
            ("unit_id", "group", "assigned_at", "stratum"),
            "experiment = :experiment AND version = :version",
            {"experiment": experiment.name, "version": experiment.version},
            order=("unit_id",),
        )

    def decisions(
        self, since: datetime | None = None, until: datetime | None = None, only: Sequence[str] = ()
    ) -> pa.Table:
        """Decisions made in [since, until), slates as JSON texts; sorted by moment and id.

        Parameters
        ----------
        only : the columns to read, if not all: slates are most of the bytes
        """
        return self._window(schema.decisions, since, until, only)

    def events(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        only: Sequence[str] = (),
        types: Sequence[str] = (),
    ) -> pa.Table:
        """Events that occurred in [since, until), payloads as JSON texts; sorted by moment and id.

        Without redemptions that were rolled back: the order was cancelled, nothing was given away.

        Parameters
        ----------
        types : the types to read, if not all: what was looked at is most of the rows
        """
        return self._window(schema.events, since, until, only, types)

    def orders(
        self, since: datetime | None = None, until: datetime | None = None, only: Sequence[str] = ()
    ) -> pa.Table:
        """Orders received live and placed in [since, until), in minor units; sorted by moment and id.

        A return is an order of its own, of negative quantities; `returns_of` is the order it takes back from.
        """
        return self._window(schema.orders, since, until, only)

    def identities(self) -> pa.Table:
        """Which customer a visitor turned out to be: visitor_id, customer_id, at; sorted by both ids.

        A visitor id used by several customers (a shared device) has a row for each.
        """
        table = schema.identities
        return columns.whole(
            self._engine, table, table.columns.keys(), order=table.primary_key.columns.keys()
        )

    def _window(
        self,
        table: Table,
        since: datetime | None,
        until: datetime | None,
        only: Sequence[str],
        types: Sequence[str] = (),
    ) -> pa.Table:
        names = tuple(only) or table.columns.keys()
        where, values = _within(table, since, until, types)
        order = ("at", *table.primary_key.columns.keys())
        return columns.whole(self._engine, table, names, where, values, order)


_NOT_UNDONE = """NOT (type = 'promotion-redeemed' AND event_id IN (
    SELECT 'redeemed:' || code || ':' || order_id FROM redemptions WHERE rolled_back_at IS NOT NULL))"""


def _within(
    table: Table, since: datetime | None, until: datetime | None, types: Sequence[str] = ()
) -> tuple[str, dict[str, int | str]]:
    """The condition of a window of time, and its values; of events that an order's cancelling undid, none."""
    bounds = {"since": since, "until": until}
    values: dict[str, int | str] = {
        name: schema.to_micros(moment) for name, moment in bounds.items() if moment is not None
    }
    parts = [f"at {'>=' if name == 'since' else '<'} :{name}" for name in values]
    if types:
        named = {f"type{number}": name for number, name in enumerate(types)}
        parts.append(f"type IN ({', '.join(f':{place}' for place in named)})")
        values |= named
    if table is schema.events:
        parts.append(_NOT_UNDONE)
    return " AND ".join(parts), values
