"""Export: who gets the campaign's message and which offers, recorded before the file is written.

    people -> causes (audience.py) -> assignment, choice with caps and budget, codes (deciding.py)
           -> what experiments hold back of them (holding_back.py)
           -> decisions of both groups, and ghosts, in the ledger -> the channel's file

A run is (campaign, shop-local date). Repeating it rewrites the same rows from the ledger, even under a new
bundle; only consent, address and quiet hours are read afresh, so that whoever objected since is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from nextoffer.bundle.lock import locked
from nextoffer.channels.channel import Channel, Message
from nextoffer.config import Campaign, Settings
from nextoffer.config.base import nearest
from nextoffer.domain.offers import Slate, offer_of
from nextoffer.domain.tables import SEGMENTS
from nextoffer.errors import CampaignError
from nextoffer.offers.display import segment_of
from nextoffer.pipeline.analysis import OpenShop
from nextoffer.pipeline.audience import NOBODY, People, Run, left_out, people_of, rows_of
from nextoffer.pipeline.deciding import Spending, decide_run
from nextoffer.pipeline.workspace import Progress, quiet
from nextoffer.plugins import channels
from nextoffer.tracking.assigning import refuse_changed_terms
from nextoffer.tracking.ledger import Ledger
from nextoffer.tracking.schema import TREATED, Decision


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export wrote, and how many customers it left out for which cause (the first that holds).

    `cost_at_most`: the incentives taken off products' prices, if every offer in the file is used once. `spending` is
    what they are expected to cost and how a budget was spent; None where a run is repeated.
    """

    campaign: str
    run_on: str
    path: str
    bundle_id: str
    messages: int
    customers: int
    left_out: dict[str, int]
    repeated: bool
    cost_at_most: float
    spending: Spending | None = None

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        return asdict(self)


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
    ConfigError : an experiment is configured otherwise than it was begun
    """
    campaign, channel = campaign_of(shop.settings, name)
    refuse_changed_terms(ledger.engine, shop.settings)
    run = Run(shop, name, campaign, channel, run_on or now.astimezone(shop.settings.zone).date(), now)
    progress("customers")
    people = people_of(run)
    # Of two exports at once the second waits: it would decide a run twice, or write to a customer over a cap.
    with locked(shop.settings.work_dir / ".export"):
        decisions = ledger.decisions_of_run(name, run.run_on)
        repeated, starved, spending = bool(decisions), NOBODY, None
        if not repeated:
            progress("offers")
            decided = decide_run(run, ledger, people)
            decisions, starved, spending = decided.decisions, decided.starved, decided.spending
            progress("ledger")
            ledger.record_decisions(decisions)  # one transaction: a run is recorded whole or not at all
    progress("file")
    messages = list(_messages(run, people, decisions))
    refused = channel.write(out, messages, campaign)
    return ExportReport(
        campaign=name,
        run_on=run.run_on.isoformat(),
        path=str(out),
        bundle_id=shop.bundle.bundle_id,
        messages=len(messages) - sum(refused.values()),
        customers=len(people),
        left_out=left_out(run, ledger, people, decisions, starved, refused),
        repeated=repeated,
        cost_at_most=float(sum(_savings(messages), Decimal(0))),
        spending=spending,
    )


def export_all(
    shop: OpenShop,
    ledger: Ledger,
    folder: Path,
    now: datetime,
    run_on: date | None = None,
    progress: Progress = quiet,
) -> list[ExportReport]:
    """Write a file for every campaign, the one of highest priority first: whom it writes to, others leave alone.

    What the site shows is no file. The files are called as their campaigns, with the ending of their channel.

    Raises
    ------
    CampaignError : as `export`; before anything is written where a campaign cannot be
    """
    campaigns = shop.settings.campaigns
    names = [name for name in campaigns if campaigns[name].channel != "site"]
    names.sort(key=lambda name: (-campaigns[name].priority, name))
    ending = {name: campaign_of(shop.settings, name)[1].ending for name in names}
    if odd := [name for name in names if "/" in name or name.startswith(".")]:
        raise CampaignError(f"campaigns.{odd[0]}: no file can be called so; export it alone, or rename it")
    return [
        export(shop, ledger, name, folder / f"{name}.{ending[name]}", now, run_on, progress) for name in names
    ]


def campaign_of(settings: Settings, name: str) -> tuple[Campaign, Channel]:
    """The campaign of that name, and the channel it goes through.

    Raises
    ------
    CampaignError : there is none, or its channel, format or segments do not exist
    """
    campaign = settings.campaigns.get(name)
    if campaign is None:
        known = ", ".join(settings.campaigns) or "none yet; add [campaigns.NAME] to nextoffer.toml"
        hint = nearest(name, settings.campaigns)
        raise CampaignError(f"campaign {name!r} is not configured{hint} Configured: {known}.")
    there = channels()
    channel = there.get(campaign.channel)
    if channel is None:
        raise CampaignError(
            f'campaigns.{name}: channel "{campaign.channel}" has no file to export'
            f"{nearest(campaign.channel, there)}; there are: {', '.join(there)}"
        )
    try:
        channel.format(campaign)
    except CampaignError as error:
        raise CampaignError(f"campaigns.{name}: {error}") from None
    if unknown := sorted(set(campaign.segments) - set(SEGMENTS)):
        hint = nearest(unknown[0], SEGMENTS)
        raise CampaignError(
            f"campaigns.{name}: there is no segment {unknown[0]!r}{hint}; there are: {', '.join(SEGMENTS)}"
        )
    return campaign, channel


def _messages(run: Run, people: People, decisions: Sequence[Decision]) -> Iterator[Message]:
    """One message for each treated decision with an offer whose customer may still be written to."""
    bundle, free = run.shop.bundle, ~people.unreachable()
    treated = [one for one in decisions if one.group == TREATED and one.slate]
    rows = rows_of(run.shop, [one.unit_id for one in treated]).tolist()
    sent = [(row, one) for row, one in zip(rows, treated, strict=True) if row >= 0 and free[row]]
    known = people.table.take(np.array([row for row, _ in sent], dtype=np.int64)).to_pylist()
    for (row, one), person in zip(sent, known, strict=True):
        slate = Slate(
            customer_id=one.unit_id,
            bundle_id=one.bundle_id or "",
            currency=run.shop.settings.currency,
            segment=segment_of(bundle, row),
            fallback=None,
            offers=tuple(offer_of(offer) for offer in one.slate),
        )
        yield Message(
            address={name: person[name] for name in run.channel.address if person[name] is not None},
            first_name=person["first_name"],
            locale=person["locale"],
            customer_id=one.unit_id,
            decision_id=one.decision_id,
            segment=slate.segment,
            slate=slate,
            at=one.at,
        )


def _savings(messages: Sequence[Message]) -> Iterator[Decimal]:
    """What each offer of the messages takes off its product's price."""
    for message in messages:
        for offer in message.slate.offers:
            if offer.list_price is not None and offer.final_price is not None:
                yield Decimal(offer.list_price) - Decimal(offer.final_price)
