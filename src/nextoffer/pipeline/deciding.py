"""What each customer of a campaign is offered, or would be if held out: chosen together, so that a budget holds."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from zlib import crc32

import numpy as np
import pyarrow as pa

from nextoffer.domain.arrays import Floats, Ints
from nextoffer.domain.kinds import DROP, KIND
from nextoffer.domain.offers import Candidates, Slate, SlateRequest, Slates, offer_json
from nextoffer.offers.budget import Allocation
from nextoffer.offers.by_hand import allowed
from nextoffer.offers.by_hand import candidates as reached
from nextoffer.offers.choosing import Context
from nextoffer.offers.display import Shown, displayed, propensities
from nextoffer.offers.ranking import Choice, decide, slates_of
from nextoffer.offers.spending import decide_within, spent
from nextoffer.pipeline.audience import People, Run, contacts_of, ids_of, strata_of
from nextoffer.pipeline.holding_back import held_back
from nextoffer.tracking.counts import used, used_by
from nextoffer.tracking.experiments import withhold
from nextoffer.tracking.grants import grants_of, with_codes
from nextoffer.tracking.ledger import Ledger
from nextoffer.tracking.reach import event_made
from nextoffer.tracking.schema import HOLDOUT, TREATED, Decision


@dataclass(frozen=True, slots=True)
class Spending:
    """What a run's incentives are expected to cost, in currency; both groups are counted, as both are decided on.

    With a `budget`, `gap` is the share of the best there is that its allocation may have missed, and `multiplier`
    what the last unit of it earned.
    """

    expected_cost: float
    budget: float | None = None
    gap: float | None = None
    multiplier: float | None = None

    def told(self, currency: str) -> str:
        """One line for whoever pays."""
        cost = f"incentives are expected to cost {self.expected_cost:,.2f} {currency}"
        if self.budget is None:
            return cost
        least = 1.0 - (self.gap or 0.0)
        return f"{cost} of a budget of {self.budget:,.2f}, spent at least {least:.1%} as well as can be"


@dataclass(frozen=True, slots=True, eq=False)
class Decided:
    """The decisions of a run, of both groups, the bundle rows of customers whose offers the budget dropped, and what
    it is expected to cost."""

    decisions: list[Decision]
    starved: Ints
    spending: Spending


def decide_run(run: Run, ledger: Ledger, people: People) -> Decided:
    """Decide for whoever can be asked, both groups alike; a customer nothing could be offered has no decision.

    Assignments are written here, and the codes of what leaves, before the decisions that name them are recorded:
    a code nobody was told of does no harm, and asked again the same offer has the same code. What an experiment
    holds back of a decision follows it as a ghost.
    """
    rows = people.askable()
    ids = ids_of(run.shop, rows)
    if not ids:
        return Decided([], rows, Spending(0.0))
    strata = strata_of(run.shop, rows)
    held_out = ledger.assign(run.shop.settings.experiment, ids, run.now, strata)
    choice, allocation = _choice(run, ledger, rows, ids)
    slates = slates_of(choice)
    asked = zip(
        ids,
        people.table["locale"].take(pa.array(rows)).to_pylist(),
        held_out.tolist(),
        held_back(run, ledger, ids, strata, ~held_out, slates),
        _places(slates, len(rows)),
        propensities(choice, len(rows)),
        strict=True,
    )
    made: list[Decision] = []
    for row, (unit, locale, held, studies, place, chances) in zip(rows.tolist(), asked, strict=True):
        if place or chances is not None:
            slate = _slate(run, row, unit, locale, slates, place)
            left, ghosts = withhold(_decision(run, unit, held, slate, chances), studies)
            made += [left, *ghosts] if left.slate or left.propensities else ghosts
    without = np.setdiff1d(slates.dropped_customer[slates.dropped_reason == DROP["budget"]], slates.customer)
    return Decided(_with_codes(run, ledger, made), rows[without], _spending(run, choice, allocation))


def _spending(run: Run, choice: Choice, allocation: Allocation | None) -> Spending:
    cost = round(spent(choice), 4)
    if allocation is None or run.campaign.budget is None:
        return Spending(cost)
    return Spending(
        cost, float(run.campaign.budget), round(allocation.gap, 6), round(allocation.multiplier, 4)
    )


def _choice(run: Run, ledger: Ledger, rows: Ints, ids: Sequence[str]) -> tuple[Choice, Allocation | None]:
    """Everybody's offers at once: a budget is spent where it earns most."""
    shop, campaign, menu = run.shop, run.campaign, run.shop.policy.menu
    contacts = contacts_of(run, ledger, ids)
    most = run.channel.most_offers
    context = Context(
        n=campaign.n if most is None else min(campaign.n, most),
        kinds=tuple(KIND[kind] for kind in campaign.kinds) or None,
        stock=_stock(run, ledger),
        contact=True,
        transactional=campaign.transactional,
        messages_today=contacts.today,
        messages_week=contacts.week,
        capped=contacts.had_all,
        event_made=event_made(ledger, ids, run.now, message=True, except_run=(run.name, run.run_on)),
        used=used(ledger, menu.name) if (menu.quota >= 0).any() else None,
        used_by=used_by(ledger, ids, menu.name) if (menu.per_customer >= 0).any() else None,
        draws=_draws(run)[rows],
    )
    candidates = shop.bundle.candidates.batch(rows)
    if shop.by_hand is not None:
        here = allowed(shop.by_hand, run.channel.name, campaign=run.name)
        candidates = Candidates.concat([candidates, reached(shop.by_hand, rows, here)])
    if campaign.budget is None:
        return decide(shop.bundle, rows, candidates, shop.policy, context), None
    return decide_within(shop.bundle, rows, candidates, shop.policy, context, float(campaign.budget))


def _stock(run: Run, ledger: Ledger) -> Floats | None:
    """(n_products,) units on hand less what was sold live since the bundle was made; None if nothing was."""
    bundle = run.shop.bundle
    sold = ledger.units_sold(bundle.as_of)
    if not sold:
        return None
    stock = bundle.catalogue.stock.copy()
    for product_id, units in sold.items():
        if (row := bundle.product_row(product_id)) >= 0:
            stock[row] -= units
    return stock


def _draws(run: Run) -> Floats:
    """(n_customers,) in [0, 1): the same for the same run, whoever else may be written to."""
    seed = [run.shop.settings.seed, crc32(run.name.encode()), run.run_on.toordinal()]
    return np.random.default_rng(seed).random(len(run.shop.bundle.customer_ids.ids))


def _slate(run: Run, row: int, unit: str, locale: str | None, slates: Slates, place: range) -> Slate:
    """What the customer sees, in the language they read now, which the bundle may not know yet."""
    shop = run.shop
    language = locale or shop.settings.texts.language
    request = SlateRequest(customer_id=unit, contact=True, language=language)
    return displayed(Shown(shop.bundle, shop.policy, run.now, shop.by_hand), row, request, slates, place)


def _decision(
    run: Run, unit: str, held_out: bool, slate: Slate, chances: dict[str, dict[str, float]] | None
) -> Decision:
    return Decision(
        decision_id=uuid.uuid4().hex,
        unit_id=unit,
        group=HOLDOUT if held_out else TREATED,
        at=run.now,
        bundle_id=slate.bundle_id,
        slate=[offer_json(offer, slate.currency) for offer in slate.offers],
        campaign=run.name,
        run_on=run.run_on,
        propensities=chances,
    )


def _with_codes(run: Run, ledger: Ledger, decisions: Sequence[Decision]) -> list[Decision]:
    """The decisions with a code in each offer to a treated customer that carries an incentive."""
    menu = run.shop.policy.menu
    grants = [grants_of(one, menu) if one.group == TREATED else () for one in decisions]
    codes = iter(ledger.codes.issue([grant for some in grants for grant in some]))
    return [
        replace(one, slate=with_codes(one.slate, list(islice(codes, len(some))))) if some else one
        for one, some in zip(decisions, grants, strict=True)
    ]


def _places(slates: Slates, n: int) -> list[range]:
    """Which rows of the slates belong to each customer of the batch."""
    ends = np.searchsorted(slates.customer, np.arange(n + 1))
    return [range(int(start), int(stop)) for start, stop in pairwise(ends)]
