"""The demo's story: each step says what it does, the command that does it, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from rich.console import Console
from rich.markup import escape

from nextoffer import pipeline
from nextoffer.channels.audience import ADVICE
from nextoffer.demo.kinds import tell_kinds
from nextoffer.demo.proof import live, tell_measured
from nextoffer.demo.site import Site, served
from nextoffer.demo.teller import Teller, listing, shown, table
from nextoffer.demo.town import CAMPAIGN, Town, make_town
from nextoffer.domain.offers import KIND, Offer, Slate, SlateRequest
from nextoffer.domain.tables import SEGMENTS
from nextoffer.offers.recommend import choose_stored
from nextoffer.pipeline import OpenShop, TrainReport
from nextoffer.sources.report import overview
from nextoffer.tracking.holdout import groups
from nextoffer.tracking.ledger import Ledger, open_ledger

METHODS = {
    "nextoffer": "nextoffer",
    "popularity": "what sells best",
    "personal_frequency": "what they bought most often",
    "als": "matrix factorisation (implicit)",
    "item_item": "item to item (implicit)",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A kind of customer to meet: what they are called, their segments, the kind of offer to see."""

    title: str
    segments: tuple[str, ...]
    kind: str


MEET = (
    Wanted("a regular", ("champions", "loyal"), "replenishment"),
    Wanted("someone who is slipping away", ("at_risk", "hibernating", "needs_attention"), "win_back"),
    Wanted("a newcomer", ("new", "promising"), "cross_sell"),
)


def run_demo(customers: int, seed: int, directory: Path, console: Console | None = None) -> None:
    """Make a shop in `directory` and tell its story on the terminal; nothing leaves this machine.

    Raises
    ------
    ConfigError : the directory is there and is not a demo's, or cannot be written
    """
    teller = Teller(console or Console(highlight=False))
    teller.say(
        "[bold]nextoffer[/bold] decides, for every customer of a shop, which offer to make next, and proves "
        "what the offers earned. Here is the whole of it, on a shop that is made up. Nothing leaves this machine."
    )
    town = _make(teller, customers, seed, directory)
    _check(teller, town)
    report = _train(teller, town)
    _judge(teller, town, report)
    shop = pipeline.open_shop(town.settings)
    tell_kinds(teller, shop)
    met = _meet(teller, shop)
    ledger = open_ledger(town.settings.store)
    try:
        _export(teller, town, shop, ledger)
        _serve(teller, town, met)
        live(teller, town, shop, ledger)
        tell_measured(teller, town, ledger)
    finally:
        ledger.close()
    _your_own(teller, town)


def _make(teller: Teller, customers: int, seed: int, directory: Path) -> Town:
    teller.heading("A shop is made up")
    with teller.working("inventing customers, products and a year and a half of orders"):
        town = make_town(customers, seed, directory)
    made, folder = town.shop.settings, shown(directory)
    teller.say(
        f"{made.customers:,} people, {made.products:,} products, {made.weeks} weeks: {town.order_lines:,} order "
        f"lines until {town.now:%d %B %Y}, with the faults real exports have. All of it is in "
        f"[bold]{escape(folder)}/[/bold]: the shop's own files and a commented nextoffer.toml. "
        f"The commands below work there: [bold cyan]cd {escape(folder)}[/bold cyan]"
    )
    return town


def _check(teller: Teller, town: Town) -> None:
    teller.heading("Read and check everything", "nextoffer check")
    with teller.working("reading") as progress, pipeline.check(town.settings, progress) as history:
        found = overview(history)
    rows = [
        (name, *(f"{getattr(report, part):,}" for part in ("read", "accepted", "rejected", "excluded")))
        for name, report in history.reports.items()
    ]
    teller.show(table(("rows of", "read", "taken", "refused", "set aside"), rows))
    orders = history.reports["orders"]
    why = [f"{rule} {count:,}" for rule, count in orders.rejected_by_rule.items()]
    why += [f"{rule} {count:,}" for rule, count in orders.excluded_by_rule.items()]
    teller.say(
        f"\nWhy: {escape('; '.join(why)) or 'every line is good'}. Taken: {found.orders:,} orders of "
        f"{found.customers:,} customers ({found.one_time_share:.0%} bought once), {orders.guests:,} lines of guests."
    )


def _train(teller: Teller, town: Town) -> TrainReport:
    day = town.now.date()
    teller.heading("Learn from it: the nightly job", f"nextoffer train --as-of {day}")
    with teller.working("training") as progress:
        report = pipeline.train(town.settings, town.now, progress=progress)
    stages = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in report.seconds.items())
    teller.say(
        f"Learned from {report.customers:,} customers and {report.products:,} products ({stages}). Every customer's "
        f"offers are scored, and [bold]{report.bundle_id}[/bold] is in service: files with a checksum each, "
        "switched over at once, so that a job that dies halfway changes nothing."
    )
    return report


def _judge(teller: Teller, town: Town, report: TrainReport) -> None:
    """The quality report of the nightly job, which is a backtest one horizon ago."""
    horizon = town.settings.horizon_days
    cut = (town.now - timedelta(days=horizon)).date()
    teller.heading(
        "Is it any good? Learn before a date, score the days after", f"nextoffer backtest --as-of {cut}"
    )
    if not report.quality.get("buyers"):
        teller.say("The history is too short for that.")
        return
    bought = report.quality["tasks"]["next_purchase"]
    rows = [
        (title, *(_best(metric, method, bought) for metric in ("hit@10", "recall@10", "ndcg@10")))
        for method, title in METHODS.items()
        if method in bought
    ]
    names = (f"what is bought in the {horizon} days after, guessed by", "hit@10", "recall@10", "ndcg@10")
    teller.show(table(names, rows))
    again = report.quality["tasks"]["replenishment"]
    if "nextoffer" in again and "mean_gap" in again:
        ours, gap = (again[method]["pr_auc"] for method in ("nextoffer", "mean_gap"))
        teller.say(
            f"\nWhich product is bought again: {ours:.3f} average precision, where the mean gap between purchases "
            f"gives {gap:.3f}. {report.quality['buyers']:,} customers bought in those days."
        )


def _best(metric: str, method: str, methods: dict[str, dict[str, float]]) -> str:
    value = methods[method][metric]
    text = f"{value:.3f}"
    return f"[bold green]{text}[/bold green]" if value == max(m[metric] for m in methods.values()) else text


def _meet(teller: Teller, shop: OpenShop) -> list[Slate]:
    """Three customers of different segments, chosen by rule, and their offers with reasons."""
    bundle = shop.bundle
    rows = _rows_to_meet(shop)
    ids = [bundle.customer_ids.ids.text(row) for row in rows]
    teller.heading("Three customers and their offers", f"nextoffer recommend {ids[0]}")
    names = _first_names(shop, ids)
    slates = []
    for row, customer_id, wanted in zip(rows, ids, MEET, strict=True):
        request = SlateRequest(customer_id=customer_id, n=3, language="en")
        slate, _ = pipeline.recommend_one(shop, request, bundle.as_of)
        slates.append(slate)
        customers = bundle.knowledge.customers
        orders, ago = int(customers.frequency[row]), int(customers.recency_days[row])
        teller.say(
            f"[bold]{escape(names.get(customer_id) or customer_id)}[/bold] ({customer_id}), {wanted.title}: segment "
            f"{slate.segment}, {orders} order{'s' if orders != 1 else ''}, the last {ago} days ago"
        )
        teller.show(listing([_offer_line(offer, slate.currency) for offer in slate.offers]))
        teller.say("")
    teller.say("--explain also lists what was not offered, and which rule dropped it.")
    return slates


def _rows_to_meet(shop: OpenShop) -> list[int]:
    """For each of MEET the treated customer whose best offer is of that kind and whose slate has most kinds."""
    bundle = shop.bundle
    everyone = np.arange(len(bundle.customer_ids.ids))
    slates = choose_stored(bundle, everyone, shop.policy)
    segment = np.asarray(bundle.knowledge.customers.segment)[slates.customer]
    free = ~groups(shop.settings.experiment, bundle.customer_ids.ids)[slates.customer]
    best_offer = slates.rank == slates.rank.min()
    variety = np.zeros(len(everyone), dtype=np.int64)
    pairs = np.unique(slates.customer * np.int64(len(KIND)) + slates.kind)
    np.add.at(variety, pairs // len(KIND), 1)
    chosen: list[int] = []
    for wanted in MEET:
        there = np.isin(segment, [SEGMENTS.index(slug) for slug in wanted.segments])
        of_kind = best_offer & (slates.kind == KIND[wanted.kind])
        # The wish gives way bit by bit: a small shop may not have such a customer.
        wish = 4 * free + 2 * there + of_kind - 8 * np.isin(slates.customer, chosen)
        best = np.lexsort((slates.customer, -slates.expected_profit, -variety[slates.customer], -wish))[0]
        chosen.append(int(slates.customer[best]))
    return chosen


def _first_names(shop: OpenShop, ids: Sequence[str]) -> dict[str, str | None]:
    source = shop.settings.history.customers
    assert source is not None and source.path is not None  # noqa: S101 — the demo's own configuration
    people = pq.read_table(source.path, columns=["customer_id", "first_name"])
    known = dict(zip(*(people[name].to_pylist() for name in people.column_names), strict=True))
    return {customer_id: known.get(customer_id) for customer_id in ids}


def _offer_line(offer: Offer, currency: str) -> tuple[str, str]:
    price = f"{offer.final_price} {currency}"
    if offer.final_price != offer.list_price:
        price = f"[bold]{price}[/bold] instead of {offer.list_price}"
    return offer.kind, f"[bold]{escape(offer.title)}[/bold]  {price}\n{escape(offer.reason.text)}"


def _export(teller: Teller, town: Town, shop: OpenShop, ledger: Ledger) -> None:
    day = town.now.date()
    out = town.folder / "campaigns" / f"{CAMPAIGN}-{day}.csv"
    command = f"nextoffer export {CAMPAIGN} --date {day} --out campaigns/{out.name}"
    teller.heading("Write a campaign's file", command)
    with teller.working("choosing everybody's offers") as progress:
        report = pipeline.export(shop, ledger, CAMPAIGN, out, town.now, day, progress)
    teller.say(
        f"{report.messages:,} messages of {report.customers:,} customers, one row each, ready for a mail service. "
        "Each decision was recorded before the file was written, also for those who are held out. Left out:"
    )
    rows = [(f"{count:,}", escape(f"{cause}: {ADVICE[cause]}")) for cause, count in report.left_out.items()]
    teller.show(listing(rows))


def _serve(teller: Teller, town: Town, met: Sequence[Slate]) -> None:
    teller.heading("Ask over HTTP, as a storefront does", "nextoffer serve")
    customer_id = met[0].customer_id
    path = f"/v1/customers/{customer_id}/offers?placement=home&n=1"
    with teller.working("starting the API"), served(town.settings, town.now) as site:
        slate = site.ask("GET", path)
        counted = _report_back(site, slate, town)
    teller.say(f"[bold]GET {path}[/bold]")
    teller.document(_shortened(slate))
    again = f"; the same again: {counted[1]['accepted']} new, {counted[1]['duplicates']} known"
    teller.say(
        f"[bold]POST /v1/events[/bold], shown and clicked: {counted[0]['accepted']} new{again}. "
        "The attribution token ties what happens to what was decided."
    )


def _report_back(site: Site, slate: dict[str, Any], town: Town) -> list[dict[str, int]]:
    """Tell that the slate was shown and its first offer clicked; twice, as a nervous network does."""
    at = (town.now + timedelta(minutes=1)).isoformat()
    token = slate["attribution_token"]
    events = [
        {
            "event_id": f"{token}-{kind}",
            "event_type": kind,
            "occurred_at": at,
            "customer_id": slate["customer_id"],
            "attribution_token": token,
            "offer_id": offer["offer_id"],
        }
        for kind in ("promotion-offered", "promotion-clicked")
        for offer in slate["offers"][:1]
    ]
    return [site.ask("POST", "/v1/events", events) for _ in range(2)]


def _shortened(slate: dict[str, Any]) -> dict[str, Any]:
    """The answer without what only a program reads."""
    left_out = ("url", "image_url", "code", "valid_until")
    offers = [{k: v for k, v in offer.items() if k not in left_out} for offer in slate["offers"]]
    return slate | {"offers": offers}


def _your_own(teller: Teller, town: Town) -> None:
    teller.heading("Your own shop: three commands")
    rows = [
        ("nextoffer init --orders YOUR_ORDERS.csv", "recognises your columns, writes nextoffer.toml"),
        ("nextoffer check", "reads everything, says what it refused and why"),
        ("nextoffer train", "every night; then recommend, export, serve, measure"),
    ]
    teller.show(listing([(f"[bold cyan]{command}[/bold cyan]", what) for command, what in rows]))
    teller.say(f"\nLook around first: cd {escape(shown(town.folder))}, then any command above, or --help.")
