"""Export: who gets the campaign's message and which offers, recorded before the file is written.

A run is (campaign, shop-local date). Repeating it rewrites the same rows from the ledger, even under a new
bundle; only consent and address are read afresh, so that whoever objected since is left out.
"""

from __future__ import annotations

import difflib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nextoffer.channels.audience import audience_causes
from nextoffer.channels.email import MessageRow, is_email, write_csv
from nextoffer.config import Campaign, Settings
from nextoffer.domain.arrays import Bools, Ints
from nextoffer.domain.offers import KIND, Slate, SlateRequest, Slates, offer_json, offer_of
from nextoffer.domain.tables import SEGMENTS
from nextoffer.errors import CampaignError
from nextoffer.offers.choosing import Context
from nextoffer.offers.recommend import choose_stored, displayed, segment_of
from nextoffer.pipeline.analysis import OpenShop
from nextoffer.pipeline.workspace import Progress, quiet, workspace
from nextoffer.sources.customers import read_customers
from nextoffer.tracking.ledger import Ledger
from nextoffer.tracking.schema import HOLDOUT, TREATED, Decision


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export wrote, and how many customers it left out for which cause (the first that holds)."""

    campaign: str
    run_on: str
    path: str
    bundle_id: str
    messages: int
    customers: int
    left_out: dict[str, int]
    repeated: bool
    cost_at_most: float

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """The bundle's customers as the shop's customer table has them now; row = row of the bundle."""

    email: list[str | None]
    first_name: list[str | None]
    locale: list[str | None]
    no_email: Bools
    invalid_email: Bools
    no_consent: Bools


def export(
    shop: OpenShop,
    ledger: Ledger,
    name: str,
    out: Path,
    now: datetime,
    run_on: date | None = None,
    progress: Progress = quiet,
) -> ExportReport:
    """Write a campaign's file; every decision, of both groups, is in the ledger first.

    Raises
    ------
    CampaignError : the campaign is not configured, or the file cannot be written
    """
    campaign = campaign_of(shop.settings, name)
    run_on = run_on or now.astimezone(shop.settings.zone).date()
    progress("customers")
    people = _people(shop)
    causes = _refusals(shop, campaign, people)
    decisions = ledger.decisions_of_run(name, run_on)
    repeated = bool(decisions)
    if not repeated:
        progress("offers")
        decisions = _decide(shop, ledger, campaign, name, run_on, now, causes)
        progress("ledger")
        ledger.record_decisions(decisions)  # one transaction: a run is recorded whole or not at all
    progress("file")
    treated = [decision for decision in decisions if decision.group == TREATED]
    rows = list(_messages(shop, treated, people, causes))
    write_csv(out, rows, campaign.format)
    return ExportReport(
        campaign=name,
        run_on=run_on.isoformat(),
        path=str(out),
        bundle_id=shop.bundle.bundle_id,
        messages=len(rows),
        customers=len(people.email),
        left_out=_left_out(shop, ledger, (name, run_on), now, causes, decisions),
        repeated=repeated,
        cost_at_most=float(sum(_costs(treated), Decimal(0))),
    )


def campaign_of(settings: Settings, name: str) -> Campaign:
    """The campaign of that name.

    Raises
    ------
    CampaignError : there is none, or this version cannot write its channel
    """
    campaign = settings.campaigns.get(name)
    if campaign is None:
        known = ", ".join(settings.campaigns) or "none yet; add [campaigns.NAME] to nextoffer.toml"
        close = difflib.get_close_matches(name, list(settings.campaigns), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise CampaignError(f"campaign {name!r} is not configured{hint} Configured: {known}.")
    if campaign.channel != "email":
        raise CampaignError(
            f'campaigns.{name}: channel "{campaign.channel}" cannot be exported yet; use channel = "email"'
        )
    if unknown := sorted(set(campaign.segments) - set(SEGMENTS)):
        raise CampaignError(
            f"campaigns.{name}: there is no segment {unknown[0]!r}; there are: {', '.join(SEGMENTS)}"
        )
    return campaign


def _people(shop: OpenShop) -> People:
    """Every customer of the bundle, with address and consent as they are now; a missing consent is a no."""
    n = len(shop.bundle.customer_ids.ids)
    with workspace(shop.settings) as folder:
        table = read_customers(shop.settings, folder)
    if table is None:
        nobody = np.ones(n, dtype=bool)
        nothing: list[str | None] = [None] * n
        return People(nothing, nothing, nothing, nobody, ~nobody, nobody)
    ids = shop.bundle.customer_ids.ids.to_arrow()
    at = pc.index_in(ids, value_set=table["customer_id"].cast(pa.large_string()).combine_chunks())
    found = table.take(at)
    email = found["email"].to_pylist()
    no_email = np.array([not address for address in email], dtype=bool)
    valid = np.array([is_email(address) for address in email], dtype=bool)
    consent = pc.fill_null(found["consent_email"], False).to_numpy(zero_copy_only=False)
    return People(
        email,
        found["first_name"].to_pylist(),
        found["locale"].to_pylist(),
        no_email,
        ~no_email & ~valid,
        ~consent.astype(bool),
    )


def _refusals(shop: OpenShop, campaign: Campaign, people: People) -> dict[str, Bools]:
    """Cause -> customers it keeps from this campaign, whatever its offers are."""
    segment = np.asarray(shop.bundle.knowledge.customers.segment)
    other = np.zeros(len(segment), dtype=bool)
    if campaign.segments:
        other = ~np.isin(segment, [SEGMENTS.index(slug) for slug in campaign.segments])
    return {
        "no_email": people.no_email,
        "invalid_email": people.invalid_email,
        "no_consent": people.no_consent,
        "other_segment": other,
    }


def _decide(
    shop: OpenShop,
    ledger: Ledger,
    campaign: Campaign,
    name: str,
    run_on: date,
    now: datetime,
    causes: Mapping[str, Bools],
) -> list[Decision]:
    """What each reachable customer is offered, or would be if held out; assignments are written here."""
    rows = np.flatnonzero(~np.logical_or.reduce(list(causes.values())))
    ids = [shop.bundle.customer_ids.ids.text(int(row)) for row in rows]
    held_out = ledger.assign(shop.settings.experiment, ids, now) if ids else np.zeros(0, dtype=bool)
    today, week = ledger.contacts(ids, now, shop.settings.zone, except_run=(name, run_on))
    context = Context(
        n=campaign.n,
        kinds=tuple(KIND[kind] for kind in campaign.kinds) or None,
        contact=True,
        messages_today=today,
        messages_week=week,
    )
    slates = choose_stored(shop.bundle, rows, shop.policy, context)
    kept = _within_budget(slates, campaign.budget, shop.bundle.catalogue.digits)
    places = _places(slates.customer, len(rows))
    return [
        _decision(shop, name, run_on, now, customer_id, int(row), held, slates, place, kept)
        for customer_id, row, held, place in zip(ids, rows, held_out, places, strict=True)
        if kept[place.start : place.stop].any()
    ]


def _decision(
    shop: OpenShop,
    name: str,
    run_on: date,
    now: datetime,
    customer_id: str,
    row: int,
    held_out: bool,
    slates: Slates,
    place: range,
    kept: Bools,
) -> Decision:
    settings, bundle = shop.settings, shop.bundle
    request = SlateRequest(customer_id=customer_id, contact=True, language=bundle.language(row))
    shown = [at for at in place if kept[at]]
    slate = displayed(bundle, row, request, slates, shown, now, settings.zone, settings.offers.valid_days)
    return Decision(
        decision_id=uuid.uuid4().hex,
        unit_id=customer_id,
        group=HOLDOUT if held_out else TREATED,
        at=now,
        bundle_id=bundle.bundle_id,
        slate=[offer_json(offer, settings.currency) for offer in slate.offers],
        campaign=name,
        run_on=run_on,
    )


def _within_budget(slates: Slates, budget: float | None, digits: int) -> Bools:
    """Offers the budget pays for: those that earn most for each unit of expected incentive cost come first."""
    cost = slates.p_offer * (slates.list_price - slates.final_price) / 10.0**digits
    kept: Bools = np.ones(len(slates), dtype=bool)
    if budget is None:
        return kept
    paid = np.flatnonzero(cost > 0)
    order = paid[np.lexsort((paid, -slates.expected_profit[paid] / cost[paid]))]
    kept[order[np.cumsum(cost[order]) > budget]] = False
    return kept


def _messages(
    shop: OpenShop, treated: Sequence[Decision], people: People, causes: Mapping[str, Bools]
) -> Iterator[MessageRow]:
    """One message for each treated decision whose customer may still be written to."""
    refused = np.logical_or.reduce([causes[cause] for cause in ("no_email", "invalid_email", "no_consent")])
    for decision in treated:
        row = shop.bundle.customer_row(decision.unit_id)
        if row < 0 or refused[row]:
            continue
        slate = Slate(
            customer_id=decision.unit_id,
            bundle_id=decision.bundle_id or "",
            currency=shop.settings.currency,
            segment=segment_of(shop.bundle, row),
            fallback=None,
            offers=tuple(offer_of(offer) for offer in decision.slate),
        )
        yield MessageRow(
            email=people.email[row] or "",
            first_name=people.first_name[row],
            locale=people.locale[row],
            customer_id=decision.unit_id,
            decision_id=decision.decision_id,
            segment=slate.segment,
            slate=slate,
        )


def _left_out(
    shop: OpenShop,
    ledger: Ledger,
    run: tuple[str, date],
    now: datetime,
    causes: Mapping[str, Bools],
    decisions: Sequence[Decision],
) -> dict[str, int]:
    """How many customers got no message, by the first cause that holds for them."""
    n = len(shop.bundle.customer_ids.ids)
    reachable = np.flatnonzero(~np.logical_or.reduce(list(causes.values())))
    ids = [shop.bundle.customer_ids.ids.text(int(row)) for row in reachable]
    capped, held_out, offered = (np.zeros(n, dtype=bool) for _ in range(3))
    today, week = ledger.contacts(ids, now, shop.settings.zone, except_run=run)
    contact = shop.settings.contact
    capped[reachable] = (today >= contact.max_per_day) | (week >= contact.max_per_week)
    if ids:
        held_out[reachable] = ledger.assign(shop.settings.experiment, ids, now)
    rows = [shop.bundle.customer_row(decision.unit_id) for decision in decisions]
    offered[[row for row in rows if row >= 0]] = True
    masks = {**causes, "holdout": held_out, "contact_cap": capped & ~offered, "no_offer": ~offered}
    return {cause: count for cause, count in audience_causes(n, masks).left_out.items() if count}


def _places(customer: Ints, n: int) -> list[range]:
    """Which rows of the slates belong to each customer of the batch."""
    ends = np.searchsorted(customer, np.arange(n + 1))
    return [range(int(start), int(stop)) for start, stop in pairwise(ends)]


def _costs(treated: Sequence[Decision]) -> Iterator[Decimal]:
    """Incentives of each decision if every offer in it is used: what the campaign can cost at most."""
    for decision in treated:
        for offer in decision.slate:
            yield Decimal(offer["list_price"]) - Decimal(offer["final_price"])
