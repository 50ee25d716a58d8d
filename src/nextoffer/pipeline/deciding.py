"""What each customer of a campaign is offered, or would be if held out: chosen together, so that a budget holds."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from zlib import crc32

import numpy as np
import pyarrow as pa

from nextoffer.domain.arrays import Floats, Ints
from nextoffer.domain.kinds import DROP, KIND
from nextoffer.domain.money import to_minor
from nextoffer.domain.offers import Candidates, Slate, SlateRequest, Slates, offer_json
from nextoffer.offers.by_hand import allowed
from nextoffer.offers.by_hand import candidates as reached
from nextoffer.offers.choosing import Context
from nextoffer.offers.display import Shown, displayed, propensities
from nextoffer.offers.ranking import Choice, decide, slates_of
from nextoffer.offers.spending import decide_within
from nextoffer.pipeline.audience import People, Run, contacts_of, ids_of
from nextoffer.tracking.codes import Grant
from nextoffer.tracking.counts import used, used_by
from nextoffer.tracking.ledger import Ledger
from nextoffer.tracking.reach import event_made
from nextoffer.tracking.schema import HOLDOUT, TREATED, Decision

YEAR = timedelta(days=365)


@dataclass(frozen=True, slots=True, eq=False)
class Decided:
    """The decisions of a run, of both groups, and the bundle rows of customers whose offers the budget dropped."""

    decisions: list[Decision]
    starved: Ints


def decide_run(run: Run, ledger: Ledger, people: People) -> Decided:
    """Decide for whoever can be asked, both groups alike; a customer nothing could be offered has no decision.

    Assignments are written here, and the codes of the treated, before the decisions that name them are recorded:
    a code nobody was told of does no harm, and asked again the same offer has the same code.
    """
    rows = people.askable()
    ids = ids_of(run.shop, rows)
    if not ids:
        return Decided([], rows)
    held_out = ledger.assign(run.shop.settings.experiment, ids, run.now)
    choice = _choice(run, ledger, rows, ids)
    slates = slates_of(choice)
    asked = zip(
        ids,
        people.table["locale"].take(pa.array(rows)).to_pylist(),
        held_out.tolist(),
        _places(slates, len(rows)),
        propensities(choice, len(rows)),
        strict=True,
    )
    made: list[tuple[Decision, Ints]] = []
    for row, (unit, locale, held, place, chances) in zip(rows.tolist(), asked, strict=True):
        if place or chances is not None:
            slate = _slate(run, row, unit, locale, slates, place)
            incentives = slates.incentive[place.start : place.stop]
            made.append((_decision(run, unit, held, slate, chances), incentives))
    _give_codes(run, ledger, [(one, incentives) for one, incentives in made if one.group == TREATED])
    without = np.setdiff1d(slates.dropped_customer[slates.dropped_reason == DROP["budget"]], slates.customer)
    return Decided([one for one, _ in made], rows[without])


def _choice(run: Run, ledger: Ledger, rows: Ints, ids: Sequence[str]) -> Choice:
    """Everybody's offers at once: a budget is spent where it earns most."""
    shop, campaign, menu = run.shop, run.campaign, run.shop.policy.menu
    contacts = contacts_of(run, ledger, ids)
    most = run.channel.most_offers
    context = Context(
        n=campaign.n if most is None else min(campaign.n, most),
        kinds=tuple(KIND[kind] for kind in campaign.kinds) or None,
        contact=True,
        transactional=campaign.transactional,
        messages_today=contacts.today,
        messages_week=contacts.week,
        capped=contacts.had_all,
        event_made=event_made(ledger, ids, run.now - YEAR, except_run=(run.name, run.run_on)),
        used=used(ledger, menu.name) if (menu.quota >= 0).any() else None,
        used_by=used_by(ledger, ids, menu.name) if (menu.per_customer >= 0).any() else None,
        draws=_draws(run)[rows],
    )
    candidates = shop.bundle.candidates.batch(rows)
    if shop.by_hand is not None:
        here = allowed(shop.by_hand, run.channel.name, campaign=run.name)
        candidates = Candidates.concat([candidates, reached(shop.by_hand, rows, here)])
    if campaign.budget is None:
        return decide(shop.bundle, rows, candidates, shop.policy, context)
    budget = float(campaign.budget)
    choice, _ = decide_within(shop.bundle, rows, candidates, shop.policy, context, budget)
    return choice


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


def _give_codes(run: Run, ledger: Ledger, treated: Sequence[tuple[Decision, Ints]]) -> None:
    """Put a code into each offer that carries an incentive."""
    offers: list[dict[str, Any]] = []
    grants = []
    for decision, incentives in treated:
        for offer, incentive in zip(decision.slate, incentives.tolist(), strict=True):
            if incentive > 0 and isinstance(offer, dict):
                offers.append(offer)
                grants.append(_grant(run, decision, offer, incentive))
    for offer, code in zip(offers, ledger.codes.issue(grants), strict=True):
        offer["code"] = code


def _grant(run: Run, decision: Decision, offer: dict[str, Any], incentive: int) -> Grant:
    menu, currency = run.shop.policy.menu, run.shop.settings.currency
    terms = offer["incentive"]
    limits = [int(column[incentive]) for column in (menu.quota, menu.per_customer)]
    quota, per_customer = (limit if limit >= 0 else None for limit in limits)
    return Grant(
        unit_id=decision.unit_id,
        offer_id=offer["offer_id"],
        incentive=terms,
        currency=currency,
        valid_from=run.now,
        valid_until=datetime.fromisoformat(offer["valid_until"]) + timedelta(seconds=1),
        decision_id=decision.decision_id,
        campaign=run.name,
        run_on=run.run_on,
        product_id=None if menu.basket[incentive] else offer["product_id"],
        min_order=to_minor(terms.get("min_order", "0"), currency),
        quota_key=menu.name[incentive],
        quota=quota,
        per_customer=per_customer,
    )


def _places(slates: Slates, n: int) -> list[range]:
    """Which rows of the slates belong to each customer of the batch."""
    ends = np.searchsorted(slates.customer, np.arange(n + 1))
    return [range(int(start), int(stop)) for start, stop in pairwise(ends)]
