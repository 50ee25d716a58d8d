"""From a bundle to slates: `score` a batch at night, `choose` from the stored candidates at any time.

`recommend` is what a storefront, an export and an analyst call for one customer; `recommend_all` is the same
choice for whole batches. Both end in `ranking.choose`, so they give the same offers in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nextoffer.bundle.bundle import Bundle
from nextoffer.config import Placement
from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.domain.offers import KIND, KINDS, Candidates, Slate, SlateRequest, Slates
from nextoffer.models.fresh import Moment
from nextoffer.offers import live
from nextoffer.offers.abandoned import from_seen
from nextoffer.offers.batch import KindFunction, KindSettings, make_batch
from nextoffer.offers.by_hand import Reach
from nextoffer.offers.by_hand import allowed as allowed_here
from nextoffer.offers.by_hand import candidates as reached
from nextoffer.offers.choosing import NOTHING, Context, Policy
from nextoffer.offers.display import Shown, displayed, dropped, propensities
from nextoffer.offers.ranking import choose, decide, slates_of

_ANYWHERE = Placement()


def score(
    bundle: Bundle, rows: Ints, kinds: Mapping[str, KindFunction], when: KindSettings | None = None
) -> Candidates:
    """Every offer that could be made to the customers at `rows`: heavy, nightly, pure."""
    batch, when = make_batch(bundle, rows), when or KindSettings(bundle.as_of.date())
    found = Candidates.concat([candidates(batch, bundle, when) for candidates in kinds.values()])
    return found.take(np.lexsort((found.product, found.kind, found.customer)))


def choose_stored(
    bundle: Bundle, rows: Ints, policy: Policy, context: Context = NOTHING, by_hand: Reach | None = None
) -> Slates:
    """Slates of customers the bundle knows, from tonight's candidates and the marketer's rules, wherever made."""
    rows = np.asarray(rows, dtype=np.int64)
    candidates = bundle.candidates.batch(rows)
    if by_hand is not None:
        candidates = Candidates.concat([candidates, reached(by_hand, rows)])
    return choose(bundle, rows, candidates, policy, context)


def recommend(
    bundle: Bundle, policy: Policy, request: SlateRequest, now: datetime, by_hand: Reach | None = None
) -> Slate:
    """One slate: from the customer's candidates of tonight, the cart, the views, today's purchases, and the rules
    of the marketer that reach the customer.

    A customer the bundle does not know, and a visitor, get what the context suggests, else what is popular.
    """
    if request.customer_id is None:
        policy = _without_incentives(policy)
    row = bundle.customer_row(request.customer_id)
    cart = _rows(bundle, request.cart)
    viewed = _rows(bundle, request.viewed)
    bought = _rows(bundle, request.bought)
    allowed = _allowed(bundle, request)
    moment = Moment.of(cart, viewed, bought)
    candidates, fallback = _gather(bundle, policy, request, row, moment, allowed)
    if by_hand is not None:
        here = allowed_here(by_hand, "email" if request.contact else "site", request.placement)
        picked = reached(by_hand, np.array([row]), here)
        if request.customer_id is None:
            picked = picked.take(policy.rules.incentive[picked.rule] == 0)
        candidates = Candidates.concat([candidates, _moved(bundle, moment, row, picked)])
    placement = policy.placements.get(request.placement or "", _ANYWHERE)
    context = Context(
        n=_least(request.n, placement.n),
        max_per_kind=placement.max_per_kind,
        kinds=_kinds(request.kinds, placement.kinds),
        allowed=allowed,
        cart=cart if len(cart) else None,
        cart_value=request.cart_value,
        bought=bought if request.bought else None,
        stock=_stock(bundle, request, candidates),
        contact=request.contact,
        messages_today=np.array([request.messages_today]),
        messages_week=np.array([request.messages_week]),
        event_made=np.array([request.event_made]),
        used=_counts(policy, request.used) if request.used else None,
        used_by=_counts(policy, request.used_by)[None, :] if request.used_by else None,
        draws=np.array([request.draw]) if request.explore else None,
    )
    choice = decide(bundle, np.array([row]), candidates, policy, context)
    slates = slates_of(choice)
    shown = Shown(bundle, policy, now, by_hand)
    slate = displayed(shown, row, request, slates, range(len(slates)), fallback)
    if choice.drawn is not None:
        slate = replace(slate, propensities=propensities(choice, 1)[0])
    return replace(slate, dropped=dropped(shown, slates)) if request.explain else slate


def _without_incentives(policy: Policy) -> Policy:
    """A visitor may be anybody, as often as they like: what is given is given to customers."""
    kinds = policy.menu.kinds & (np.arange(len(policy.menu)) == 0)[:, None]
    return replace(policy, menu=replace(policy.menu, kinds=kinds))


def _moved(bundle: Bundle, moment: Moment, row: int, picked: Candidates) -> Candidates:
    """The marketer's offers, likelier by what the moment adds, as learned ones are."""
    p_any = bundle.p_newcomer if row < 0 else float(bundle.knowledge.customers.p_order[row])
    some = picked.product >= 0
    return Candidates.concat([live.moved(bundle, moment, p_any, picked.take(some)), picked.take(~some)])


def _least(asked: int | None, placed: int | None) -> int | None:
    """A request may ask for less than its placement gives, never for more."""
    return asked if placed is None else placed if asked is None else min(asked, placed)


def _kinds(asked: Sequence[str] | None, placed: Sequence[str]) -> tuple[int, ...] | None:
    """Kinds both the request and the placement want; None = all."""
    if asked is None and not placed:
        return None
    wanted = [kind for kind in (placed or KINDS) if asked is None or kind in asked]
    return tuple(KIND[kind] for kind in wanted)


def _counts(policy: Policy, by_name: Mapping[str, int]) -> Ints:
    """Uses of each menu row."""
    return np.array([by_name.get(name, 0) for name in policy.menu.name], dtype=np.int64)


def _gather(
    bundle: Bundle, policy: Policy, request: SlateRequest, row: int, moment: Moment, allowed: Bools | None
) -> tuple[Candidates, str | None]:
    """Candidates of one customer or visitor, and the fallback they stand on (None: their own history)."""
    p_any = bundle.p_newcomer if row < 0 else float(bundle.knowledge.customers.p_order[row])
    parts = []
    if row >= 0:
        parts.append(live.moved(bundle, moment, p_any, bundle.candidates.batch(np.array([row]))))
    if len(moment):
        parts.append(live.suggested(bundle, moment, p_any))
    if request.seen:
        known = [(bundle.product_row(product), carted, hours) for product, carted, hours in request.seen]
        left = [one for one in known if one[0] >= 0]
        parts.append(from_seen(bundle, row, left, policy.abandoned_hours, policy.abandoned_days))
    fallback = None if row >= 0 else "context" if any(len(part) for part in parts) else "popular"
    if row < 0 or allowed is not None:  # tonight's candidates may hold nothing the filter lets through
        parts.append(live.popular(bundle, moment, p_any, allowed))
    bought = _rows(bundle, request.bought)
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


def _stock(bundle: Bundle, request: SlateRequest, candidates: Candidates) -> Floats | None:
    """Units on hand now, of the candidates' products; None where nothing is known but tonight's."""
    if not request.stock and not request.sold:
        return None
    stock = bundle.catalogue.stock.copy()
    for row in np.unique(candidates.product[candidates.product >= 0]).tolist():
        product_id = bundle.catalogue.ids.text(row)
        stock[row] -= request.sold.get(product_id, 0.0)
        stock[row] = request.stock.get(product_id, stock[row])
    return stock
