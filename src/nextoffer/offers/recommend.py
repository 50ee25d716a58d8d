"""From a bundle to slates: `score` a batch at night, `choose` from the stored candidates at any time.

`recommend` is what a storefront, an export and an analyst call for one customer; `recommend_all` is the same
choice for whole batches. Both end in `ranking.choose`, so they give the same offers in the same order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.arrays import Bools, Ints
from nextoffer.domain.money import to_wire
from nextoffer.domain.offers import (
    DROPS,
    KIND,
    KINDS,
    Candidates,
    Dropped,
    Offer,
    Slate,
    SlateRequest,
    Slates,
)
from nextoffer.domain.tables import SEGMENTS
from nextoffer.models.fresh import Moment
from nextoffer.offers import live
from nextoffer.offers.batch import KindFunction, KindSettings, make_batch
from nextoffer.offers.choosing import NOTHING, Context, Policy
from nextoffer.offers.ranking import choose
from nextoffer.offers.reasons import reason_of


def score(
    bundle: Bundle, rows: Ints, kinds: Mapping[str, KindFunction], when: KindSettings | None = None
) -> Candidates:
    """Every offer that could be made to the customers at `rows`: heavy, nightly, pure."""
    batch, when = make_batch(bundle, rows), when or KindSettings(bundle.as_of.date())
    found = Candidates.concat([candidates(batch, bundle, when) for candidates in kinds.values()])
    return found.take(np.lexsort((found.product, found.kind, found.customer)))


def choose_stored(bundle: Bundle, rows: Ints, policy: Policy, context: Context = NOTHING) -> Slates:
    """Slates of customers the bundle knows, from tonight's candidates."""
    rows = np.asarray(rows, dtype=np.int64)
    return choose(bundle, rows, bundle.candidates.batch(rows), policy, context)


def recommend(
    bundle: Bundle, policy: Policy, request: SlateRequest, now: datetime, zone: ZoneInfo, valid_days: int
) -> Slate:
    """One slate: from the customer's candidates of tonight, the cart, the views and today's purchases.

    A customer the bundle does not know, and a visitor, get what the context suggests, else what is popular.
    """
    row = bundle.customer_row(request.customer_id)
    cart = _rows(bundle, request.cart)
    viewed = _rows(bundle, request.viewed)
    bought = _rows(bundle, request.bought)
    allowed = _allowed(bundle, request)
    candidates, fallback = _gather(bundle, row, cart, viewed, bought, allowed)
    context = Context(
        n=request.n,
        kinds=None if request.kinds is None else tuple(KIND[kind] for kind in request.kinds),
        allowed=allowed,
        cart=cart if len(cart) else None,
        bought=bought if request.bought else None,
        stock=_stock(bundle, request),
        contact=request.contact,
        messages_today=np.array([request.messages_today]),
        messages_week=np.array([request.messages_week]),
    )
    slates = choose(bundle, np.array([row]), candidates, policy, context)
    slate = displayed(bundle, row, request, slates, range(len(slates)), now, zone, valid_days, fallback)
    return replace(slate, dropped=_dropped(bundle, slates)) if request.explain else slate


def displayed(
    bundle: Bundle,
    row: int,
    request: SlateRequest,
    slates: Slates,
    places: Iterable[int],
    now: datetime,
    zone: ZoneInfo,
    valid_days: int,
    fallback: str | None = None,
) -> Slate:
    """One customer's slate, ready to be shown: the rows `places` of a batch of slates are theirs."""
    valid_until = _valid_until(now, zone, valid_days)
    return Slate(
        customer_id=request.customer_id,
        bundle_id=bundle.bundle_id,
        currency=bundle.catalogue.currency,
        segment=segment_of(bundle, row),
        fallback=fallback,
        offers=tuple(_offer(bundle, row, request, slates, at, now, valid_until) for at in places),
    )


def segment_of(bundle: Bundle, row: int) -> str | None:
    """The customer's segment slug; None for a customer the bundle does not know."""
    return SEGMENTS[int(bundle.knowledge.customers.segment[row])] if row >= 0 else None


def _gather(
    bundle: Bundle, row: int, cart: Ints, viewed: Ints, bought: Ints, allowed: Bools | None
) -> tuple[Candidates, str | None]:
    """Candidates of one customer or visitor, and the fallback they stand on (None: their own history)."""
    p_any = bundle.p_newcomer if row < 0 else float(bundle.knowledge.customers.p_order[row])
    parts = []
    moment = Moment.of(cart, viewed, bought)
    if row >= 0:
        parts.append(live.moved(bundle, moment, p_any, bundle.candidates.batch(np.array([row]))))
    if len(moment):
        parts.append(live.suggested(bundle, moment, p_any))
    fallback = None if row >= 0 else "context" if any(len(part) for part in parts) else "popular"
    if row < 0 or allowed is not None:  # tonight's candidates may hold nothing the filter lets through
        parts.append(live.popular(bundle, moment, p_any, allowed))
    return _once(bundle, row, bought, Candidates.concat(parts)), fallback


def _once(bundle: Bundle, row: int, bought: Ints, candidates: Candidates) -> Candidates:
    """One candidate for each kind and product, the likeliest; new things never of what is bought already."""
    if row >= 0:
        pairs = bundle.knowledge.pairs
        owned = np.append(pairs.product[int(pairs.indptr[row]) : int(pairs.indptr[row + 1])], bought)
        new = np.isin(candidates.kind, (KIND["cross_sell"], KIND["for_you"], KIND["up_sell"]))
        candidates = candidates.take(~(new & np.isin(candidates.product, owned)))
    order = np.lexsort((-candidates.p_buy, candidates.product, candidates.kind))
    candidates = candidates.take(order)
    first = np.ones(len(candidates), dtype=bool)
    first[1:] = (candidates.kind[1:] != candidates.kind[:-1]) | (
        candidates.product[1:] != candidates.product[:-1]
    )
    return candidates.take(first)


def _offer(
    bundle: Bundle,
    row: int,
    request: SlateRequest,
    slates: Slates,
    at: int,
    now: datetime,
    valid_until: datetime,
) -> Offer:
    catalogue, product = bundle.catalogue, int(slates.product[at])
    kind, level = KINDS[slates.kind[at]], float(slates.level[at])
    product_id = catalogue.ids.text(product)
    percent = {"type": "percent", "value": f"{level * 100:g}"}
    return Offer(
        offer_id=_offer_id(bundle.bundle_id, request.customer_id or "", kind, product_id, f"{level:g}"),
        kind=kind,
        product_id=product_id,
        title=catalogue.title[product] or product_id,
        url=catalogue.url[product],
        image_url=catalogue.image_url[product],
        list_price=to_wire(int(slates.list_price[at]), catalogue.currency),
        final_price=to_wire(int(slates.final_price[at]), catalogue.currency),
        incentive=percent if level > 0 else {"type": "none"},
        code=None,
        valid_until=valid_until,
        p_buy=float(slates.p_buy[at]),
        expected_profit=float(slates.expected_profit[at]),
        reason=reason_of(
            bundle,
            row,
            product,
            int(slates.because[at]),
            int(slates.reason[at]),
            level,
            now,
            request.language or bundle.language(row),
        ),
    )


def _offer_id(*parts: str) -> str:
    """The same offer to the same customer has the same id however often it is asked for."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:20]


def _dropped(bundle: Bundle, slates: Slates) -> tuple[Dropped, ...]:
    return tuple(
        Dropped(KINDS[kind], bundle.catalogue.ids.text(product), DROPS[reason])
        for kind, product, reason in zip(
            slates.dropped_kind.tolist(),
            slates.dropped_product.tolist(),
            slates.dropped_reason.tolist(),
            strict=True,
        )
    )


def _rows(bundle: Bundle, product_ids: Iterable[str]) -> Ints:
    """Rows of the known products, each once, in the order given."""
    rows = dict.fromkeys(bundle.product_row(product_id) for product_id in product_ids)
    return np.array([row for row in rows if row >= 0], dtype=np.int64)


def _allowed(bundle: Bundle, request: SlateRequest) -> Bools | None:
    """Products a request's category, brand and price filter lets through."""
    if request.category is None and request.brand is None and request.max_price is None:
        return None
    catalogue = bundle.catalogue
    allowed: Bools = np.ones(len(catalogue), dtype=bool)
    if request.category is not None:
        category = catalogue.category.to_arrow()
        within = pc.or_(
            pc.equal(category, request.category), pc.starts_with(category, f"{request.category} >")
        )
        allowed &= _is_true(within)
    if request.brand is not None:
        allowed &= _is_true(pc.equal(catalogue.brand.to_arrow(), request.brand))
    if request.max_price is not None:
        allowed &= catalogue.price <= request.max_price
    return allowed


def _is_true(flags: pa.Array) -> Bools:
    """Nulls are no."""
    return np.asarray(pc.fill_null(flags, False).to_numpy(zero_copy_only=False), dtype=bool)


def _stock(bundle: Bundle, request: SlateRequest) -> np.ndarray | None:
    if not request.stock:
        return None
    stock = bundle.catalogue.stock.copy()
    for product_id, units in request.stock.items():
        if (row := bundle.product_row(product_id)) >= 0:
            stock[row] = units
    return stock


def _valid_until(now: datetime, zone: ZoneInfo, days: int) -> datetime:
    """The end of a day in the shop's time zone, `days` from now."""
    last = (now.astimezone(zone) + timedelta(days=days)).date()
    return datetime.combine(last, time(23, 59, 59), tzinfo=zone)
