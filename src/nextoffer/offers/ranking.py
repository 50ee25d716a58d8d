"""From candidates to slates: every candidate with each incentive it may carry, the best of them, and their order.

candidates -> eligible (eligibility.RULES) -> options: candidate × incentive -> eligible (OPTION_RULES)
           -> worth (value.py) -> the best incentive of each, or the one drawn (exploring.py)
           -> the slate: no product twice, k of a kind, not too much alike, incentives that may stand together
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.arrays import Bools, Floats, Ints, ranges
from nextoffer.domain.kinds import DROP, KINDS
from nextoffer.domain.menu import MILLION
from nextoffer.domain.offers import Candidates, Slates
from nextoffer.offers.choosing import Context, Policy
from nextoffer.offers.eligibility import Option, Question, first_failure, first_option_failure
from nextoffer.offers.exploring import Drawn, draw
from nextoffer.offers.incentives import deals
from nextoffer.offers.shelf import shelf_of
from nextoffer.offers.value import Valued, buyers, value

FIRST = 1e9  # more than any offer is worth: what the marketer pins comes first, what they bury last


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """A batch decided: options of the candidates, which one each carries, and why those dropped were.

    Parameters
    ----------
    drop : (n,) code of DROPS of each candidate, −1 if it is on the slate
    start : (n + 1,) options of candidate i are rows start[i] : start[i + 1], mildest incentive first
    best : (n,) the option each carries
    fails : (m,) code of the rule an option fails, −1 if none
    drawn : what was explored, if anything
    """

    question: Question
    drop: Ints
    option: Option
    start: Ints
    fails: Ints
    valued: Valued
    best: Ints
    merit: Floats
    drawn: Drawn | None


def choose(bundle: Bundle, rows: Ints, candidates: Candidates, policy: Policy, context: Context) -> Slates:
    """The slates of a batch of customers. Pure: no clock, no I/O; the same for any split into batches.

    Parameters
    ----------
    rows : (batch,) customer rows in the bundle, −1 for customers it does not know
    candidates : their candidates, `customer` being the position in `rows`
    """
    return slates_of(decide(bundle, rows, candidates, policy, context))


def decide(bundle: Bundle, rows: Ints, candidates: Candidates, policy: Policy, context: Context) -> Choice:
    """The same with everything that was weighed, for whoever has a budget to keep or wants it explained."""
    if context.kinds is not None:
        candidates = candidates.take(np.isin(candidates.kind, context.kinds))
    q = Question(bundle, shelf_of(bundle, policy), np.asarray(rows), candidates, policy, context)
    drop = first_failure(q)
    option, start, valued, fails = options_of(q, drop)
    best = _best(start, fails, valued)
    none_left = (drop < 0) & (fails[best] >= 0) if len(best) else np.zeros(0, dtype=bool)
    drop[none_left] = fails[best][none_left]
    choice = _settled(Choice(q, drop, option, start, fails, valued, best, _merit(q, valued, best), None))
    return _explored(choice) if context.draws is not None and policy.explore_share > 0 else choice


def drawable(choice: Choice) -> Ints:
    """(m,) the failures of options as a draw sees them: where incentives do not stack, none dearer is drawn."""
    if choice.question.policy.stacking == "best-of":
        return choice.fails
    owner = np.repeat(np.arange(len(choice.best)), np.diff(choice.start))
    saved, incentive = choice.option.deal.saved, choice.option.incentive
    dearer = saved > saved[choice.best][owner]
    dearer |= (incentive > 0) & (incentive[choice.best] == 0)[owner]
    return np.where((choice.fails < 0) & dearer, DROP["stacking"], choice.fails)


def _explored(choice: Choice) -> Choice:
    """The choice with an incentive drawn for whoever is on a slate and may carry one.

    Who is on it does not depend on the draw, so that the chances told are those the offers had.
    """
    q, drop = choice.question, choice.drop
    drawn = draw(q, choice.start, drawable(choice), choice.valued, choice.best, drop)
    drop[(drop < 0) & drawn.nothing] = DROP["explored-nothing"]
    return replace(choice, best=drawn.best, merit=_merit(q, choice.valued, drawn.best), drawn=drawn)


def options_of(q: Question, drop: Ints | None = None) -> tuple[Option, Ints, Valued, Ints]:
    """Every candidate with each incentive it may carry: (options, start of each candidate's, worth, failures)."""
    candidates, menu = q.candidates, q.policy.menu
    allowed = np.flatnonzero(menu.kinds.T)  # kind by kind, in the menu's order
    of_kind = np.concatenate([[0], np.cumsum(menu.kinds.sum(axis=0))])
    first, count = of_kind[candidates.kind], np.diff(of_kind)[candidates.kind]
    if drop is not None:  # what is not eligible anyway is valued as it would be without incentive
        count = np.where(drop < 0, count, 1)
    by_hand = candidates.rule >= 0
    if by_hand.any():
        count = np.where(by_hand, 1, count)
    start = np.concatenate([[0], np.cumsum(count)])
    at = np.repeat(np.arange(len(candidates)), count)
    incentive = (allowed % len(menu))[ranges(first, count)]
    if by_hand.any():
        rule = candidates.rule[at]
        incentive = np.where(rule >= 0, q.policy.rules.incentive[np.maximum(rule, 0)], incentive)
    buyer = buyers(q)
    basket = np.rint(buyer.basket * 10.0**q.bundle.catalogue.digits).astype(np.int64)[candidates.customer[at]]
    deal = deals(q.bundle, q.shelf, menu, incentive, candidates.product[at], basket)
    option = Option(at, incentive, basket, deal)
    return option, start, value(q, option, buyer), first_option_failure(q, option)


def _best(start: Ints, fails: Ints, valued: Valued) -> Ints:
    """(n,) the option worth most of those allowed, the mildest of equals; with none allowed, the mildest of all."""
    if len(start) == 1:
        return np.zeros(0, dtype=np.int64)
    worth = np.where(fails < 0, valued.profit, -np.inf)
    most = np.repeat(np.maximum.reduceat(worth, start[:-1]), np.diff(start))
    rows = np.arange(len(worth))
    return np.minimum.reduceat(np.where(worth == most, rows, len(rows)), start[:-1])


def _merit(q: Question, valued: Valued, best: Ints) -> Floats:
    """(n,) what ranks the candidates: their worth, or p_buy; pins first, the buried last."""
    candidates, rules = q.candidates, q.policy.rules
    merit = valued.profit[best] if q.policy.order_by != "p_buy" else candidates.p_buy.astype(np.float64)
    merit = merit + FIRST * (q.shelf.pinned[candidates.product] * 1.0 - q.shelf.buried[candidates.product])
    if len(rules.name):
        merit = merit + FIRST * _by_hand(q, rules.pinned)
    return merit


def _by_hand(q: Question, column: Ints | Bools) -> Ints | Bools:
    """A column of the marketer's rules for each candidate; zero for what was learned."""
    rule = q.candidates.rule
    return np.where(rule >= 0, column[np.maximum(rule, 0)], np.zeros(1, column.dtype))


def _settled(choice: Choice) -> Choice:
    """Mark the eligible candidates that do not make the slate, and why; incentives that may not stand together go."""
    q, drop, candidates = choice.question, choice.drop, choice.question.candidates
    policy, context = q.policy, q.context
    places = policy.n if context.n is None else context.n
    n_kinds = len(KINDS if context.kinds is None else context.kinds)
    most = policy.max_per_kind if context.max_per_kind is None else context.max_per_kind
    per_kind = max(most, -(-places // max(n_kinds, 1)))
    pinned = _by_hand(q, policy.rules.pinned) if len(policy.rules.name) else np.zeros(len(candidates), bool)
    worthless = (drop < 0) & (choice.valued.profit[choice.best] <= policy.min_expected_profit) & ~pinned
    drop[worthless] = DROP["low-value"]

    customer, merit = candidates.customer.astype(np.int64), choice.merit
    line = _in_order(choice, np.flatnonzero(drop < 0))

    def keep_first(reason: str, group: Ints, n: int) -> None:
        """Keep the `n` of each group that come first in the line; the others leave it."""
        nonlocal line
        own = group[line]
        by_group = np.argsort(own, kind="stable")
        beyond = line[by_group[_beyond(own[by_group], n)]]
        if len(beyond):
            drop[beyond] = DROP[reason]
            line = line[drop[line] < 0]

    own = customer * (int(candidates.product.max(initial=0)) + 2) + candidates.product + 1
    if len(policy.rules.name) and (priority := _by_hand(q, policy.rules.priority)).any():
        line = line[np.argsort(-priority[line].astype(np.int64), kind="stable")]
        keep_first("same-product", own, 1)
        line = _in_order(choice, line)
    else:
        keep_first("same-product", own, 1)
    keep_first("kind-full", customer * len(KINDS) + candidates.kind, per_kind)
    for codes, limit in (
        (q.shelf.category, policy.max_per_category),
        (q.shelf.brand, policy.max_per_brand),
    ):
        if limit:
            code = codes[candidates.product].astype(np.int64)
            alike = np.where(code >= 0, code, len(codes) + np.arange(len(code)))  # none is like no other
            keep_first("too-alike", customer * (len(codes) + len(code) + 1) + alike, limit)
    choice = _stacked(choice, line)
    if choice.merit is not merit:
        line = _in_order(choice, line[drop[line] < 0])
    drop[line[_beyond(customer[line], places)]] = DROP["slate-full"]
    return choice


def _beyond(group: Ints, n: int) -> Ints:
    """Rows of a sorted column with `n` of their own group before them."""
    return np.flatnonzero(group[n:] == group[: max(len(group) - n, 0)]) + n


def _in_order(choice: Choice, rows: Ints) -> Ints:
    """Rows by customer, those of most merit first; ties by product, then kind."""
    c = choice.question.candidates
    tie = c.product[rows].astype(np.int64) * len(KINDS) + c.kind[rows]
    return rows[np.lexsort((tie, -choice.merit[rows], c.customer[rows]))]


def _stacked(choice: Choice, line: Ints) -> Choice:
    """Incentives beyond the stacking policy are taken away; what is worth nothing without one is dropped.

    `line` are the candidates on the slates so far, by customer, best first.
    """
    q = choice.question
    if q.policy.stacking == "best-of":
        return choice
    at = line[choice.option.incentive[choice.best[line]] > 0]
    customer = q.candidates.customer[at]
    if q.policy.stacking == "exclusive":
        beyond = at[_beyond(customer, 1)]
    else:
        deal, best = choice.option.deal, choice.best[at]
        # whole millionths, so that the sum does not depend on who else is in the batch
        whole = q.policy.menu.basket[choice.option.incentive[best]]
        on = np.where(whole, choice.option.basket[best], deal.price[best])
        share = np.rint(MILLION * deal.saved[best] / np.maximum(on, 1)).astype(np.int64)
        total = np.cumsum(share)
        first = np.searchsorted(customer, customer)
        beyond = at[total - (total[first] - share[first]) > round(q.policy.max_total_share * MILLION)]
    return without_incentive(choice, beyond, "stacking") if len(beyond) else choice


def without_incentive(choice: Choice, rows: Ints, reason: str) -> Choice:
    """The choice with these candidates offered plainly, or dropped where that is not allowed or not worth it."""
    plain = choice.start[rows]  # the mildest of each: none, except for a rule that gives one
    ok = (choice.option.incentive[plain] == 0) & (choice.fails[plain] < 0)
    ok &= choice.valued.profit[plain] > choice.question.policy.min_expected_profit
    choice.drop[rows[~ok]] = DROP[reason]
    best = choice.best.copy()
    best[rows[ok]] = plain[ok]
    return replace(choice, best=best, merit=_merit(choice.question, choice.valued, best))


def slates_of(choice: Choice) -> Slates:
    """The slates of a decided batch, best offer first, and what was dropped."""
    candidates, best = choice.question.candidates, choice.best
    kept = np.flatnonzero(choice.drop < 0)
    keys = (candidates.kind[kept], candidates.product[kept], -choice.merit[kept], candidates.customer[kept])
    order = kept[np.lexsort(keys)]
    out = np.flatnonzero(choice.drop >= 0)
    customer, option, valued = candidates.customer[order], best[order], choice.valued
    deal, lost = choice.option.deal, best[out]
    some = candidates.product[order] >= 0
    return Slates(
        customer=customer,
        rank=(np.arange(len(order)) - np.searchsorted(customer, customer) + 1).astype(np.int32),
        kind=candidates.kind[order],
        product=candidates.product[order],
        because=candidates.because[order],
        reason=candidates.reason[order],
        rule=candidates.rule[order],
        p_buy=candidates.p_buy[order],
        p_offer=valued.p_offer[option],
        expected_profit=valued.profit[option],
        terms=valued.terms[option],
        cost=valued.cost[option],
        incentive=choice.option.incentive[option],
        propensity=np.ones(len(order)) if choice.drawn is None else choice.drawn.propensity[order],
        list_price=np.where(some, deal.price[option], -1),
        final_price=np.where(some, deal.final[option], -1),
        dropped_customer=candidates.customer[out],
        dropped_kind=candidates.kind[out],
        dropped_product=candidates.product[out],
        dropped_incentive=choice.option.incentive[lost],
        dropped_profit=valued.profit[lost],
        dropped_terms=valued.terms[lost],
        dropped_reason=choice.drop[out],
    )
