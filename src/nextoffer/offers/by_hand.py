"""The marketer's rules -> candidates: whom each rule reaches, what it offers them, how likely they buy it anyway.

Rules with the same conditions share one audience, and audiences are bits by customer: a request reads one row of
bits, a batch a block of them. Conditions are told as of the bundle, as everything a slate rests on; the calendar
only says which rules run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nextoffer.bundle.bundle import Bundle
from nextoffer.config import Audience, IncentiveTerms, Rule, Settings, inline_incentives, load_rules
from nextoffer.domain.arrays import Bools, Bytes, Floats, Ints, first_of_each, ranges
from nextoffer.domain.kinds import KIND, REASON
from nextoffer.domain.menu import Menu
from nextoffer.domain.offers import Candidates
from nextoffer.offers.assortment import Assortment, assortment_of
from nextoffer.offers.audiences import Known, known_of, members
from nextoffer.offers.chances import chances, first_shares
from nextoffer.offers.choosing import ByHand, Policy
from nextoffer.offers.shelf import shelf_of

REPURCHASE_DAYS = 7  # where no policy says otherwise
_CELLS = 1 << 24  # customers × rules looked at together


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """The rules that run on a day, on one bundle: made once, asked for every slate.

    Parameters
    ----------
    rules : all of offers.toml; a candidate's `rule` is a position in it
    until : (n_rules,) last day of each, None for no end
    active : (n,) positions of those that run, in order; the columns after it are aligned to it
    group : which audience; kind : index into KINDS; range : which of the assortment, −1 = the products named
    start, product : products named by active rule k are product[start[k] : start[k + 1]]; −1 = the basket
    any_channel, any_place : (n,) bool, not limited to channels; neither to placements nor to campaigns
    channels, places, campaigns : name -> (n,) bool, of those that are limited
    bits : (n_customers + 1, ceil(n_groups / 8)) uint8, the last row for who is not known; size : (n_groups,)
    first : (n_products,) how often each is bought for the first time (chances.first_shares)
    """

    bundle: Bundle
    rules: tuple[Rule, ...]
    until: tuple[date | None, ...]
    active: Ints
    group: Ints
    kind: Ints
    range: Ints
    start: Ints
    product: Ints
    assortment: Assortment
    any_channel: Bools
    any_place: Bools
    channels: dict[str, Bools]
    places: dict[str, Bools]
    campaigns: dict[str, Bools]
    bits: Bytes
    size: Ints
    first: Floats
    repurchase_days: int

    def said(self, rule: int, language: str) -> str:
        """The marketer's own words of a rule in a language; empty where there are none."""
        return self.rules[rule].said(language) or ""


def columns(rules: Sequence[Rule], menu: Menu) -> ByHand:
    """The rules as columns of the policy; `menu` is `Menu.of(settings, inline_incentives(rules))`."""
    row = {name: at for at, name in enumerate(menu.name)}

    def given(rule: Rule) -> int:
        if rule.incentive is None or rule.incentive == "none":
            return 0
        return row[rule.name if isinstance(rule.incentive, IncentiveTerms) else rule.incentive]

    return ByHand(
        name=tuple(rule.name for rule in rules),
        incentive=np.array([given(rule) for rule in rules], dtype=np.int64),
        pinned=np.array([rule.pinned for rule in rules], dtype=bool),
        priority=np.array([rule.priority for rule in rules], dtype=np.int64),
    )


def reach(
    bundle: Bundle,
    rules: Sequence[Rule],
    today: date | None,
    policy: Policy | None = None,
    known: Known | None = None,
) -> Reach:
    """Whom the rules of a day reach; `today` is the shop's date, None = every rule, whenever it runs.

    With a policy no category is spoken for by a product the shop excludes.
    """
    active = [at for at, rule in enumerate(rules) if today is None or rule.runs_on(today)]
    running = [rules[at] for at in active]
    groups: dict[Audience, int] = {}
    group = [groups.setdefault(rule.audience, len(groups)) for rule in running]
    bits, size = _bits(known or known_of(bundle, groups), list(groups))
    wanted: dict[tuple[str | None, str | None], int] = {}
    ranged = [
        wanted.setdefault((rule.category, rule.brand), len(wanted)) if rule.category or rule.brand else -1
        for rule in running
    ]
    start, product = _named(bundle, running)
    return Reach(
        bundle=bundle,
        rules=tuple(rules),
        until=tuple(rule.last_day for rule in rules),
        active=np.array(active, dtype=np.int64),
        group=np.array(group, dtype=np.int64),
        kind=np.array([KIND[rule.kind] for rule in running], dtype=np.int8),
        range=np.array(ranged, dtype=np.int64),
        start=start,
        product=product,
        assortment=assortment_of(bundle, list(wanted), None if policy is None else shelf_of(bundle, policy)),
        any_channel=np.array([not rule.channels for rule in running], dtype=bool),
        any_place=np.array([not (rule.placements or rule.campaigns) for rule in running], dtype=bool),
        channels=_where([rule.channels for rule in running]),
        places=_where([rule.placements for rule in running]),
        campaigns=_where([rule.campaigns for rule in running]),
        bits=bits,
        size=size,
        first=first_shares(bundle),
        repurchase_days=REPURCHASE_DAYS if policy is None else policy.repurchase_days,
    )


def with_rules(
    settings: Settings, bundle: Bundle, today: date | None, rules: Sequence[Rule] | None = None
) -> tuple[Policy, Reach | None]:
    """The policy of a shop with the incentives of its offers.toml, and whom its rules of a day reach (None: no rules).

    `rules` are those read before; whoever serves for days reads the file once.

    Raises
    ------
    ConfigError : offers.toml has faults
    """
    rules = load_rules(settings) if rules is None else rules
    if not rules:
        return Policy.of(settings), None
    menu = Menu.of(settings, inline_incentives(rules))
    policy = Policy.of(settings, menu, columns(rules, menu))
    return policy, reach(bundle, rules, today, policy)


def allowed(
    found: Reach, channel: str | None = None, placement: str | None = None, campaign: str | None = None
) -> Bools | None:
    """(n,) which active rules may be made here; None = all.

    A rule that names placements or campaigns is made in those only; one that names channels, in those only.
    """
    if channel is None or (found.any_channel.all() and found.any_place.all()):
        return None
    nowhere = np.zeros(len(found.active), dtype=bool)
    here = found.any_place | found.places.get(placement or "", nowhere)
    here = here | found.campaigns.get(campaign or "", nowhere)
    return np.asarray(here & (found.any_channel | found.channels.get(channel, nowhere)))


def candidates(found: Reach, rows: Ints, only: Bools | None = None) -> Candidates:
    """What the rules offer the customers at `rows` (−1 = not known), `customer` being the position in `rows`.

    A rule that names a category offers the one product of it an offer can change most for this customer, by
    p × (1 − p) × margin, of those that can be sold and were not bought just now.
    """
    rows = np.asarray(rows, dtype=np.int64)
    if not len(found.active):
        return _nothing()
    step = max(_CELLS // (8 * found.bits.shape[1] + len(found.active)), 1)
    parts = []
    for begin in range(0, max(len(rows), 1), step):
        some = rows[begin : begin + step]
        member = members_of(found, some)
        customer, at = np.nonzero(member if only is None else member & only)
        part = offered(found, some, customer, at) if len(at) else _nothing()
        parts.append(replace(part, customer=part.customer + np.int32(begin)))
    return parts[0] if len(parts) == 1 else Candidates.concat(parts)


def offered(found: Reach, rows: Ints, customer: Ints, at: Ints) -> Candidates:
    """What active rules `at` offer the customers they reach: (m,) positions in `rows`, and rules."""
    ranged = found.range[at] >= 0
    open_to = customer[ranged], at[ranged]
    counts = found.start[at + 1] - found.start[at]
    product = found.product[ranges(found.start[at], counts)]
    at, customer = np.repeat(at, counts), np.repeat(customer, counts)
    p_buy = chances(found.bundle, found.first, rows, customer, product)[0]
    if ranged.any():
        chosen = _best(found, rows, *open_to)
        customer, at, product, p_buy = (
            np.concatenate(both) for both in zip((customer, at, product, p_buy), chosen, strict=True)
        )
    order = np.lexsort((at, product, found.kind[at], customer))
    at, n = at[order], len(order)
    return Candidates(
        customer[order].astype(np.int32),
        found.kind[at],
        product[order].astype(np.int32),
        np.full(n, -1, np.int32),
        np.full(n, REASON["hand-picked"], np.int8),
        p_buy[order].astype(np.float32),
        found.active[at].astype(np.int16),
    )


def members_of(found: Reach, rows: Ints) -> Bools:
    """(batch, n) which active rules reach the customers at `rows`."""
    bits = np.unpackbits(found.bits[rows], axis=1, bitorder="little")
    return bits.view(bool)[:, found.group]


def _best(found: Reach, rows: Ints, customer: Ints, at: Ints) -> tuple[Ints, Ints, Ints, Floats]:
    """The best product of each rule's range for a customer, where there is one: (customer, rule, product, p_buy).

    `customer` and `at` are (m,) customers and the rules that reach them; rules of one range share the answer.
    """
    shelf = found.assortment
    asked, back = np.unique(customer * len(shelf.holds) + found.range[at], return_inverse=True)
    person, wanted = np.divmod(asked, len(shelf.holds))
    of, product = _considered(found, rows[person], wanted)
    p_buy, age = chances(found.bundle, found.first, rows, person[of], product)
    new = np.flatnonzero(~(shelf.once[product] & (age < found.repurchase_days)))
    of, product, p_buy = of[new], product[new], p_buy[new]
    worth = p_buy * (1.0 - p_buy) * shelf.margin[product]
    first = np.flatnonzero(first_of_each(of, -worth, product, 1))
    choice = np.full(len(asked), -1)
    choice[of[first]] = first
    some = np.flatnonzero(choice[back] >= 0)
    picked = choice[back[some]]
    return customer[some], at[some], product[picked], p_buy[picked]


def _considered(found: Reach, known: Ints, wanted: Ints) -> tuple[Ints, Ints]:
    """For (m,) customers and ranges: the best for everybody and their own candidates, as (position, product)."""
    shelf, stored = found.assortment, found.bundle.candidates
    counts = shelf.start[wanted + 1] - shelf.start[wanted]
    usual = shelf.product[ranges(shelf.start[wanted], counts)]
    own_counts = np.where(known >= 0, stored.indptr[known + 1] - stored.indptr[known], 0)
    own = stored.product[ranges(stored.indptr[known], own_counts)]
    own_of = np.repeat(np.arange(len(known)), own_counts)
    fits = (own >= 0) & shelf.sellable[own] & shelf.holds[wanted[own_of], shelf.leaf[own]]
    of = np.concatenate([np.repeat(np.arange(len(known)), counts), own_of[fits]])
    key = of * len(shelf.leaf) + np.concatenate([usual, own[fits]])
    return np.divmod(np.unique(key), len(shelf.leaf))


def _bits(known: Known, audiences: Sequence[Audience]) -> tuple[Bytes, Ints]:
    """Members of each audience as bits by customer, and how many there are."""
    n = len(known.customers)
    size = np.zeros(len(audiences), dtype=np.int64)
    packed = np.zeros((-(-len(audiences) // 8), n + 1), dtype=np.uint8)
    for at, (audience, member) in enumerate(zip(audiences, members(known, audiences), strict=True)):
        byte, bit = packed[at // 8], np.uint8(1 << (at % 8))
        byte[:n] |= member.view(np.uint8) * bit
        byte[n] |= bit * (audience == Audience())  # who is not known meets no condition
        size[at] = np.count_nonzero(member)
    return np.ascontiguousarray(packed.T), size


def _named(bundle: Bundle, rules: Sequence[Rule]) -> tuple[Ints, Ints]:
    """Rows of the products each rule names, −1 for the whole basket; none for a range, nor for unknown ids."""
    ids = [list(rule.wanted) for rule in rules]
    flat = pa.array([one for some in ids for one in some], pa.large_string())
    rows = np.asarray(pc.fill_null(pc.index_in(flat, bundle.catalogue.ids.to_arrow()), -1), dtype=np.int64)
    owner = np.repeat(np.arange(len(rules)), [len(some) for some in ids])
    basket = np.array([at for at, rule in enumerate(rules) if rule.is_basket], dtype=np.int64)
    owner, rows = owner[rows >= 0], rows[rows >= 0]
    owner, rows = np.append(owner, basket), np.append(rows, np.full(len(basket), -1))
    order = np.argsort(owner, kind="stable")
    return np.searchsorted(owner[order], np.arange(len(rules) + 1)), rows[order]


def _where(named: Sequence[Sequence[str]]) -> dict[str, Bools]:
    """Name -> which rules are made there."""
    found: dict[str, Bools] = {}
    for at, names in enumerate(named):
        for name in names:
            found.setdefault(name, np.zeros(len(named), dtype=bool))[at] = True
    return found


def _nothing() -> Candidates:
    none = np.zeros(0, np.int32)
    code = np.zeros(0, np.int8)
    return Candidates(none, code, none, none, code, np.zeros(0, np.float32), np.zeros(0, np.int16))
