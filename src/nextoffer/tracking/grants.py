"""From offers that carry an incentive to the codes that stand for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from nextoffer.domain.menu import Menu
from nextoffer.tracking.codes import Grant
from nextoffer.tracking.schema import Decision


def grants_of(decision: Decision, menu: Menu) -> tuple[Grant, ...]:
    """What a decision's offers grant, in their order; offers without incentive grant nothing."""
    return tuple(_grant(decision, offer, menu) for offer in decision.slate if _gives(offer))


def with_codes(slate: Sequence[Mapping[str, Any]], codes: Sequence[str]) -> list[dict[str, Any]]:
    """The slate with a code in each offer that carries an incentive, in their order."""
    left = iter(codes)
    return [{**offer, "code": next(left)} if _gives(offer) else dict(offer) for offer in slate]


def _gives(offer: Mapping[str, Any]) -> bool:
    return bool(offer["incentive"]["type"] != "none")


def _grant(decision: Decision, offer: Mapping[str, Any], menu: Menu) -> Grant:
    row = menu.name.index(offer["incentive_name"])
    quota, per_customer = (int(column[row]) for column in (menu.quota, menu.per_customer))
    return Grant(
        unit_id=decision.unit_id,
        offer_id=offer["offer_id"],
        incentive=offer["incentive"],
        currency=menu.currency,
        valid_from=decision.at,
        valid_until=datetime.fromisoformat(offer["valid_until"]) + timedelta(seconds=1),
        decision_id=decision.decision_id,
        campaign=decision.campaign,
        run_on=decision.run_on,
        product_id=None if menu.basket[row] else offer["product_id"],
        min_order=int(menu.min_order[row]),
        quota_key=menu.name[row],
        quota=quota if quota >= 0 else None,
        per_customer=per_customer if per_customer >= 0 else None,
    )
