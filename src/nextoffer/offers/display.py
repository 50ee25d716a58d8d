"""Slates as people and programs see them: titles, prices, incentives in words, reasons, and why not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.kinds import DROPS, KINDS, TERMS
from nextoffer.domain.money import to_wire
from nextoffer.domain.offers import Dropped, Offer, Slate, SlateRequest, Slates
from nextoffer.domain.tables import SEGMENTS
from nextoffer.domain.wording import incentive_text
from nextoffer.offers.by_hand import Reach
from nextoffer.offers.choosing import Policy
from nextoffer.offers.ranking import Choice
from nextoffer.offers.reasons import reason_of
from nextoffer.texts import language_of

NOTHING = "nothing"


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What a slate is shown with: whose products, whose rules, and when."""

    bundle: Bundle
    policy: Policy
    now: datetime
    by_hand: Reach | None = None


def displayed(
    shown: Shown,
    row: int,
    request: SlateRequest,
    slates: Slates,
    places: Iterable[int],
    fallback: str | None = None,
) -> Slate:
    """One customer's slate, ready to be shown: the rows `places` of a batch of slates are theirs."""
    bundle = shown.bundle
    return Slate(
        customer_id=request.customer_id,
        bundle_id=bundle.bundle_id,
        currency=bundle.catalogue.currency,
        segment=segment_of(bundle, row),
        fallback=fallback,
        offers=tuple(_offer(shown, row, request, slates, at) for at in places),
    )


def segment_of(bundle: Bundle, row: int) -> str | None:
    """The customer's segment slug; None for a customer the bundle does not know."""
    return SEGMENTS[int(bundle.knowledge.customers.segment[row])] if row >= 0 else None


def dropped(shown: Shown, slates: Slates) -> tuple[Dropped, ...]:
    """Every candidate that was not offered, with the rule that dropped it and what it was worth."""
    return tuple(
        Dropped(
            kind=KINDS[slates.dropped_kind[at]],
            product_id=_product_id(shown.bundle, int(slates.dropped_product[at])),
            reason=DROPS[slates.dropped_reason[at]],
            incentive=shown.policy.menu.wire(int(slates.dropped_incentive[at])),
            expected_profit=float(slates.dropped_profit[at]),
            terms=terms_of(slates.dropped_terms[at]),
        )
        for at in range(len(slates.dropped_kind))
    )


def terms_of(terms: np.ndarray) -> dict[str, float]:
    """The terms of one expected profit by name; they add up to it."""
    return dict(zip(TERMS, terms.tolist(), strict=True))


def propensities(choice: Choice, n: int) -> list[dict[str, dict[str, float]] | None]:
    """For each customer of a batch of `n`, the chances of every incentive, and of no offer, of what was drawn for.

    A candidate is named kind:product; None for whoever nothing was drawn for.
    """
    found: list[dict[str, dict[str, float]] | None] = [None] * n
    if choice.drawn is None:
        return found
    question, names = choice.question, choice.question.policy.menu.name
    at = np.flatnonzero(choice.drawn.explored)
    product = question.candidates.product[at]
    ids = question.bundle.catalogue.ids.to_arrow().take(pa.array(product, mask=product < 0)).to_pylist()
    chances, incentives = choice.drawn.chances.round(6).tolist(), choice.option.incentive.tolist()
    columns = (
        question.candidates.customer[at].tolist(),
        question.candidates.kind[at].tolist(),
        ids,
        choice.start[at].tolist(),
        choice.start[at + 1].tolist(),
    )
    for customer, kind, product_id, start, stop in zip(*columns, strict=True):
        each = {names[incentives[o]]: chances[o] for o in range(start, stop) if chances[o] > 0}
        own = found[customer]
        if own is None:
            own = found[customer] = {}
        own[f"{KINDS[kind]}:{product_id or ''}"] = {**each, NOTHING: round(1.0 - sum(each.values()), 6)}
    return found


def _offer(shown: Shown, row: int, request: SlateRequest, slates: Slates, at: int) -> Offer:
    bundle, policy = shown.bundle, shown.policy
    catalogue, menu, product = bundle.catalogue, policy.menu, int(slates.product[at])
    kind, incentive = KINDS[slates.kind[at]], int(slates.incentive[at])
    product_id = _product_id(bundle, product)
    own_language = bundle.language(row) if row >= 0 else policy.language
    language = language_of(request.language) if request.language else own_language
    gain = incentive_text(menu, incentive, language, _gift(bundle, menu.gift[incentive])) if incentive else ""
    rule = int(slates.rule[at])
    own = shown.by_hand.said(rule, language) if shown.by_hand is not None and rule >= 0 else ""
    reason = reason_of(
        bundle,
        row,
        product,
        int(slates.because[at]),
        int(slates.reason[at]),
        gain,
        shown.now,
        language,
        policy.zone,
        own,
        request.seen,
    )
    given = menu.wire(incentive)  # what a code stands for: with other terms it is another offer
    names = (
        str(period(shown.now, policy.zone, policy.valid_days)),
        request.customer_id or "",
        kind,
        product_id or "",
        menu.name[incentive],
    )
    return Offer(
        offer_id=_offer_id(*names, *given.values(), *((policy.rules.name[rule],) if rule >= 0 else ())),
        kind=kind,
        product_id=product_id,
        title=gain if product_id is None else catalogue.title[product] or product_id,
        url=None if product_id is None else catalogue.url[product],
        image_url=None if product_id is None else catalogue.image_url[product],
        list_price=None if product_id is None else to_wire(int(slates.list_price[at]), catalogue.currency),
        final_price=None if product_id is None else to_wire(int(slates.final_price[at]), catalogue.currency),
        incentive=given,
        incentive_text=gain,
        incentive_name=menu.name[incentive],
        code=None,
        valid_until=valid_until(shown, incentive, rule),
        p_buy=float(slates.p_buy[at]),
        expected_profit=float(slates.expected_profit[at]),
        reason=reason,
        rule=policy.rules.name[rule] if rule >= 0 else None,
        terms=terms_of(slates.terms[at]) if request.explain else None,
    )


def period(now: datetime, zone: ZoneInfo, valid_days: int) -> int:
    """Which of the spans of `valid_days` a moment falls into: within one an offer is the same offer, with one code,
    however many bundles come and go."""
    return now.astimezone(zone).date().toordinal() // valid_days


def valid_until(shown: Shown, incentive: int, rule: int) -> datetime:
    """The end of a day in the shop's time zone; never after the last day of the marketer's rule."""
    zone, now = shown.policy.zone, shown.now
    days = int(shown.policy.menu.valid_days[incentive]) or shown.policy.valid_days
    last = (now.astimezone(zone) + timedelta(days=days)).date()
    if shown.by_hand is not None and rule >= 0 and (until := shown.by_hand.until[rule]) is not None:
        last = min(last, until)
    return datetime.combine(last, time(23, 59, 59), tzinfo=zone)


def _gift(bundle: Bundle, product_id: str | None) -> str | None:
    """What a gift is called."""
    row = -1 if product_id is None else bundle.product_row(product_id)
    return bundle.catalogue.title[row] if row >= 0 else product_id


def _product_id(bundle: Bundle, product: int) -> str | None:
    return bundle.catalogue.ids.text(product) if product >= 0 else None


def _offer_id(*parts: str) -> str:
    """The same offer to the same customer has the same id however often it is asked for."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:20]
