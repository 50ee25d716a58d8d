"""Who may be written to: everybody of the bundle, less those a cause keeps from this campaign, counted by cause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nextoffer.channels.audience import address_cause, audience_causes
from nextoffer.channels.channel import Channel
from nextoffer.config import Campaign
from nextoffer.domain.arrays import Bools, Ints
from nextoffer.domain.tables import SEGMENTS
from nextoffer.pipeline.analysis import OpenShop
from nextoffer.pipeline.workspace import workspace
from nextoffer.plugins import open_source
from nextoffer.sources.customers import read_customers
from nextoffer.tracking.ledger import Ledger
from nextoffer.tracking.reach import messages_of
from nextoffer.tracking.schema import HOLDOUT, TREATED, Decision

NOBODY: Ints = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One run of a campaign: the shop, the campaign's name and terms, its channel, its shop-local day, and now."""

    shop: OpenShop
    name: str
    campaign: Campaign
    channel: Channel
    run_on: date
    now: datetime


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """The bundle's customers as the shop's customer table has them now; row = row of the bundle.

    Parameters
    ----------
    table : the channel's address columns (null where there is no valid one), `first_name` and `locale`
    causes : what keeps customers from the channel now, whatever was decided: cause -> (n,) bool
    other_segment : (n,) bool, not in the campaign's segments
    """

    table: pa.Table
    causes: Mapping[str, Bools]
    other_segment: Bools

    def __len__(self) -> int:
        return len(self.other_segment)

    def unreachable(self) -> Bools:
        """(n,) customers no message may go to."""
        stopped: Bools = np.any(list(self.causes.values()), axis=0)
        return stopped

    def askable(self) -> Ints:
        """Rows of the customers who can be asked what they would be offered."""
        return np.flatnonzero(~(self.unreachable() | self.other_segment))


def people_of(run: Run) -> People:
    """Every customer of the bundle, with address and consent as they are now; a missing consent is a no."""
    known = run.shop.bundle.customer_ids.ids.to_arrow()
    with workspace(run.shop.settings) as folder:
        customers = read_customers(run.shop.settings, folder, open_source)
    if customers is None:
        customers = _nobody(run.channel)
    at = pc.index_in(known, value_set=customers["customer_id"].cast(pa.large_string()).combine_chunks())
    table, causes = reachable(run.channel, customers.take(at))
    quiet = run.channel.quiet and not run.campaign.transactional
    quiet = quiet and is_quiet(
        run.shop.settings.contact.quiet_hours, run.now.astimezone(run.shop.settings.zone).time()
    )
    causes["quiet_hours"] = np.full(len(known), quiet)
    return People(table, causes, _other_segment(run))


def reachable(channel: Channel, customers: pa.Table) -> tuple[pa.Table, dict[str, Bools]]:
    """The valid addresses of customers, and cause -> (n,) bool for those the channel may not write to.

    Parameters
    ----------
    customers : the channel's address and consent columns, `first_name`, `locale`; all null = not in the table
    """
    n = len(customers)
    given, valid = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    columns: dict[str, pa.Array] = {}
    for name in channel.address:
        texts = customers[name].combine_chunks().cast(pa.string())
        filled = _flags(pc.greater(pc.utf8_length(texts), 0))
        good = np.zeros(n, dtype=bool)
        if filled.any():
            good[filled] = channel.valid(name, texts.filter(pa.array(filled)))
        columns[name] = pc.if_else(pa.array(good), texts, None)
        given |= filled
        valid |= good
    columns |= {name: customers[name] for name in ("first_name", "locale")}
    causes = {
        address_cause("no", channel.address): ~given,
        address_cause("invalid", channel.address): given & ~valid,
        "no_consent": ~_flags(customers[channel.consent]),
    }
    return pa.table(columns), causes


def is_quiet(hours: str, clock: time) -> bool:
    """Whether a time of day lies in hours such as 21:00-08:00: the first minute is quiet, the last is not.

    >>> is_quiet("21:00-08:00", time(7, 59)), is_quiet("21:00-08:00", time(8)), is_quiet("", time(3))
    (True, False, False)
    """
    if not hours:
        return False
    start, end = (time.fromisoformat(part) for part in hours.split("-"))
    if start <= end:
        return start <= clock < end
    return clock >= start or clock < end


def left_out(
    run: Run,
    ledger: Ledger,
    people: People,
    decisions: Sequence[Decision],
    starved: Ints,
    refused: Mapping[str, int],
) -> dict[str, int]:
    """How many customers got no message, by the first cause that holds for them.

    A customer the run has decided on is not asked again about segment and caps, so that a repeated run counts as
    the first one did. `starved` are rows whose offers the budget dropped, `refused` messages the channel could not
    write, by cause.
    """
    shop, n = run.shop, len(people)
    capped, had_all, poor = (np.zeros(n, dtype=bool) for _ in range(3))
    poor[starved] = True
    decided = _marked(shop, n, decisions)
    held_out = _marked(
        shop, n, [one for one in decisions if one.group == HOLDOUT and one.withheld_by is None]
    )
    ghosts = _marked(shop, n, [one for one in decisions if one.withheld_by is not None])
    offered = _marked(shop, n, [one for one in decisions if one.group == TREATED and one.slate])
    others = np.flatnonzero(~(people.unreachable() | people.other_segment | decided))
    if ids := ids_of(shop, others):
        held_out[others] = ledger.assign(shop.settings.experiment, ids, run.now, strata_of(shop, others))
        contacts, contact = contacts_of(run, ledger, ids), shop.settings.contact
        often = (contacts.today >= contact.max_per_day) | (contacts.week >= contact.max_per_week)
        capped[others] = often & (not run.campaign.transactional)
        had_all[others] = contacts.had_all
    masks = {
        **people.causes,
        "other_segment": people.other_segment & ~decided,
        "holdout": held_out,
        "experiment": ghosts & ~offered,
        "contact_cap": capped,
        "campaign_cap": had_all,
        "budget": poor,
        "no_offer": ~offered,
    }
    counts = {cause: count for cause, count in audience_causes(n, masks).left_out.items() if count}
    return counts | {cause: count for cause, count in refused.items() if count}


@dataclass(frozen=True, slots=True, eq=False)
class Contacts:
    """Messages before this run that customers were sent, or would have been if held out, (n,) each: by all campaigns
    and channels on its day and in the seven days ending with it; and who has had all they may have of this campaign."""

    today: Ints
    week: Ints
    had_all: Bools


def contacts_of(run: Run, ledger: Ledger, ids: Sequence[str]) -> Contacts:
    """What these customers were sent before, or would have been if held out."""
    most, zone = run.campaign.max_per_customer, run.shop.settings.zone
    today, week = ledger.contacts(ids, run.now, zone, except_run=(run.name, run.run_on))
    had_all = np.zeros(len(ids), dtype=bool)
    if most is not None:
        had_all = messages_of(ledger, run.name, ids, run.run_on) >= most
    return Contacts(today, week, had_all)


def ids_of(shop: OpenShop, rows: Ints) -> list[str]:
    """Customer ids of rows of the bundle."""
    ids: list[str] = shop.bundle.customer_ids.ids.to_arrow().take(pa.array(rows)).to_pylist()
    return ids


def rows_of(shop: OpenShop, ids: Sequence[str]) -> Ints:
    """Rows of the bundle of customer ids, −1 for one it does not know."""
    at = pc.index_in(pa.array(ids, pa.large_string()), value_set=shop.bundle.customer_ids.ids.to_arrow())
    return np.asarray(pc.fill_null(at, -1), dtype=np.int64)


def strata_of(shop: OpenShop, rows: Ints) -> list[str]:
    """The segment slug of rows of the bundle: the strata customers are assigned in."""
    segment = np.asarray(shop.bundle.knowledge.customers.segment)[rows]
    slugs: list[str] = np.array(SEGMENTS, dtype=object)[segment].tolist()
    return slugs


def _marked(shop: OpenShop, n: int, decisions: Sequence[Decision]) -> Bools:
    """(n,) bool, the bundle's customers these decisions are about."""
    rows = rows_of(shop, [one.unit_id for one in decisions])
    marked: Bools = np.zeros(n, dtype=bool)
    marked[rows[rows >= 0]] = True
    return marked


def _other_segment(run: Run) -> Bools:
    segment = np.asarray(run.shop.bundle.knowledge.customers.segment)
    if not run.campaign.segments:
        return np.zeros(len(segment), dtype=bool)
    return ~np.isin(segment, [SEGMENTS.index(slug) for slug in run.campaign.segments])


def _nobody(channel: Channel) -> pa.Table:
    """The customer table of a shop that has none."""
    text = pa.array([], pa.string())
    columns = {name: text for name in ("customer_id", *channel.address, "first_name", "locale")}
    return pa.table(columns | {channel.consent: pa.array([], pa.bool_())})


def _flags(flags: pa.ChunkedArray | pa.Array) -> Bools:
    """Nulls are no."""
    return np.asarray(pc.fill_null(flags, False).to_numpy(zero_copy_only=False), dtype=bool)
