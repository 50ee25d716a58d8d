"""The demo's tour of the eight kinds of offers: how many customers get each, and one example in both languages."""

from __future__ import annotations

import numpy as np
from rich.markup import escape

from nextoffer import pipeline
from nextoffer.demo.teller import Teller, listing
from nextoffer.domain.arrays import Ints
from nextoffer.domain.offers import KINDS, SlateRequest, Slates
from nextoffer.offers.recommend import choose_stored
from nextoffer.pipeline import OpenShop
from nextoffer.tracking.holdout import groups

LANGUAGES = ("en", "ru")


def tell_kinds(teller: Teller, shop: OpenShop) -> None:
    """One list for all reasons to write: of each kind, whom it reaches and what it says to one of them."""
    teller.heading(
        "Eight kinds of offers, one ranking", "nextoffer recommend --all --out campaigns/offers.parquet"
    )
    everyone = np.arange(len(shop.bundle.customer_ids.ids))
    slates = choose_stored(shop.bundle, everyone, shop.policy)
    free = ~groups(shop.settings.experiment, shop.bundle.customer_ids.ids)
    rows: list[tuple[str, str]] = []
    taken: set[int] = set()  # so that each kind shows another product
    for code, kind in enumerate(KINDS):
        at = np.flatnonzero(slates.kind == code)
        n = len(np.unique(slates.customer[at]))
        best = _best(slates, at[free[slates.customer[at]]], taken)
        example = "" if best is None else f"\n{_example(shop, slates, best)}"
        taken |= set() if best is None else {int(slates.product[best])}
        rows.append((kind, f"{n:,} customers{example}"))
    teller.show(listing(rows))
    teller.say(
        "\nAll compete in one list by what they are expected to earn on top of what would be bought anyway. A reminder "
        "of what a customer buys anyway ranks low; an offer not worth its cost is not made."
    )


def _best(slates: Slates, at: Ints, taken: set[int]) -> int | None:
    """The offer worth most of those at `at`, of a product not taken yet where there is one."""
    if not len(at):
        return None
    again = np.isin(slates.product[at], list(taken))
    return int(at[np.lexsort((slates.customer[at], -slates.expected_profit[at], again))[0]])


def _example(shop: OpenShop, slates: Slates, best: int) -> str:
    """What an offer says, in both languages."""
    bundle, product = shop.bundle, int(slates.product[best])
    customer_id = bundle.customer_ids.ids.text(int(slates.customer[best]))
    kind, product_id = KINDS[slates.kind[best]], bundle.catalogue.ids.text(product)
    said = []
    for language in LANGUAGES:
        request = SlateRequest(customer_id=customer_id, kinds=(kind,), language=language)
        slate, _ = pipeline.recommend_one(shop, request, bundle.as_of)
        said += [offer.reason.text for offer in slate.offers if offer.product_id == product_id]
    title = bundle.catalogue.title[product] or product_id
    return "\n".join([f"[bold]{escape(title)}[/bold]", *map(escape, said)])
