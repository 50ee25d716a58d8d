"""Codes: issued once for a customer's offer, and redeemed no more often than allowed, whoever else tries.

Whether a code can hold is looked at first, so that a hopeless attempt writes nothing and waits for nobody. What
decides is `UPDATE … SET used = used + 1 WHERE used < max_uses`, and likewise for a quota, in the transaction that
also writes the redemption and its event (`uses.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from operator import itemgetter
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Engine, String, bindparam, case, exists, func, select

from nextoffer.domain.money import to_wire
from nextoffer.tracking import database, queries, uses
from nextoffer.tracking.code_text import could_be_mistyped, fresh_codes, read_code
from nextoffer.tracking.database import Statements
from nextoffer.tracking.discounts import Basket, discount_of
from nextoffer.tracking.parse import bad_field
from nextoffer.tracking.schema import Event, codes, event_row, quotas, redemptions, to_json, to_micros
from nextoffer.tracking.uses import Found

# Why a code is refused. The first five stand alone; of the others all that hold are told, in this order.
REASONS: tuple[str, ...] = (
    "wrong-checksum",  # mistyped
    "unknown-code",
    "other-customer",
    "rolled-back",  # this order was cancelled; a new order needs a new order id
    "not-redeemed",  # there is nothing to roll back for this order
    "wrong-currency",
    "not-yet-valid",
    "expired",
    "used-already",
    "quota-exhausted",
    "customer-limit",  # this customer has used the incentive as often as one may
    "minimum-order",
    "product-missing",  # the order has none of the product the code is for
)


@dataclass(frozen=True, slots=True)
class Grant:
    """What one customer's offer grants: the terms of its code.

    `min_order` is in minor units, `valid_until` the first moment at which it is too late. Without `product_id` it
    is taken off the whole basket. Redemptions count under `quota_key`, the incentive's name: at most `quota` of
    them in all and `per_customer` for one customer.
    """

    unit_id: str
    offer_id: str
    incentive: Mapping[str, Any]
    currency: str
    valid_from: datetime
    valid_until: datetime
    decision_id: str | None = None
    campaign: str | None = None
    run_on: date | None = None
    product_id: str | None = None
    min_order: int = 0
    max_uses: int = 1
    quota_key: str | None = None
    quota: int | None = None
    per_customer: int | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """Somebody wants to use a code, or take its use back, for an order."""

    code: str
    customer_id: str
    basket: Basket


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a code holds for an order, else why not (REASONS), and what it takes off, in minor units.

    `incentive` and `product_id` are told to the code's own customer only.
    """

    valid: bool
    reasons: tuple[str, ...] = ()
    incentive: Mapping[str, Any] | None = None
    discount: int = 0
    product_id: str | None = None


class Codes:
    """The codes of one ledger; threads and processes may share them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def issue(self, grants: Sequence[Grant]) -> list[str]:
        """A code for each grant, all in one transaction; the same (unit, offer) has the same code for ever.

        A code that is there already stays valid for the longer of both times.

        Returns
        -------
        the codes, in the order of the grants
        """
        if not grants:
            return []
        once = {(grant.unit_id, grant.offer_id): grant for grant in grants}
        keys = sorted(once)  # in one order, so that two writers of the same rows never wait in a ring
        rows = [_code_row(once[key], code) for key, code in zip(keys, fresh_codes(len(keys)), strict=True)]
        with database.writing(self._engine) as connection:
            _limit(connection, grants)
            known = _inserted(connection, rows)
        return [known[grant.unit_id, grant.offer_id] for grant in grants]

    def validate(self, ask: Ask, now: datetime) -> Verdict:
        """Whether the code would hold for this order now; nothing is written."""
        return _judged(ask, self._glance([ask])[0], to_micros(now))

    def redeem(self, ask: Ask, now: datetime) -> Verdict:
        """Use a code for an order, once: asked again for the same order, the answer is the same."""
        return self.redeem_all([ask], now)[0]

    def redeem_all(self, asks: Sequence[Ask], now: datetime) -> list[Verdict]:
        """Decide many at once, with one flush to disk for all.

        Raises
        ------
        LedgerError : the ledger cannot be written; nothing of this batch was.
        """
        moment = to_micros(now)
        found = self._glance(asks)
        verdicts = [_judged(ask, row, moment) for ask, row in zip(asks, found, strict=True)]
        hopeful = [
            ((row.unit_id, row.offer_id, at), row)  # in the order in which `issue` locks
            for at, (row, verdict) in enumerate(zip(found, verdicts, strict=True))
            if row is not None and verdict.valid and row.redeemed_at is None
        ]
        if hopeful:
            with database.changing(self._engine) as statements:
                uses.lock_quotas(statements, [row for _, row in hopeful])
                for (_, _, at), row in sorted(hopeful, key=itemgetter(0)):
                    verdicts[at] = _redeemed(statements, asks[at], row, verdicts[at], now)
        return verdicts

    def rollback(self, ask: Ask, now: datetime) -> Verdict:
        """Take back the use of a code for an order that was cancelled; another order may use it then.

        The answer tells what had been taken off; asked again it is the same. The cancelled order itself cannot
        redeem the code again, so that a redemption that is sent once more, late, does no harm.
        """
        row = self._glance([ask])[0]
        refused = _stranger(ask, row)
        if refused is not None or row is None:
            return refused or Verdict(False)
        incentive = orjson.loads(row.incentive)
        if row.redeemed_at is None:
            return Verdict(False, ("not-redeemed",), incentive, 0, row.product_id)
        if row.rolled_back_at is None:
            with database.changing(self._engine) as statements:
                uses.give_back(statements, row, _order_id(ask), to_micros(now))
        return Verdict(True, (), incentive, row.discount, row.product_id)

    def _glance(self, asks: Sequence[Ask]) -> list[Found | None]:
        with database.glancing(self._engine) as statements:
            return [_find(statements, ask) for ask in asks]


def _find(statements: Statements, ask: Ask) -> Found | None:
    code, is_one = read_code(ask.code)
    return uses.find(statements, code, ask.basket.order_id) if is_one else None


def _stranger(ask: Ask, row: Found | None) -> Verdict | None:
    """The refusal of somebody whose code this is not: it tells nothing about the code."""
    if row is None:
        mistyped = not read_code(ask.code)[1] and could_be_mistyped(ask.code)
        return Verdict(False, ("wrong-checksum" if mistyped else "unknown-code",))
    return Verdict(False, ("other-customer",)) if row.unit_id != ask.customer_id else None


def _judged(ask: Ask, row: Found | None, moment: int) -> Verdict:
    """What there is to say about an attempt without writing; a valid one must still be the first."""
    refused = _stranger(ask, row)
    if refused is not None or row is None:
        return refused or Verdict(False)
    incentive = orjson.loads(row.incentive)
    if row.rolled_back_at is not None:
        return Verdict(False, ("rolled-back",), incentive, 0, row.product_id)
    if row.redeemed_at is not None:
        return Verdict(True, (), incentive, row.discount, row.product_id)
    reasons = _reasons(ask.basket, row, moment)
    discount = 0 if reasons else discount_of(incentive, row.product_id, ask.basket, row.currency)
    return Verdict(not reasons, reasons, incentive, discount, row.product_id)


def _reasons(basket: Basket, row: Found, moment: int) -> tuple[str, ...]:
    """All that stands against a code that this order has not used."""
    same_currency = basket.currency in (None, row.currency)
    bought = {line["product_id"] for line in basket.lines}
    against = {
        "wrong-currency": not same_currency,
        "not-yet-valid": moment < row.valid_from,
        "expired": moment >= row.valid_until,
        "used-already": row.used >= row.max_uses,
        "quota-exhausted": row.quota is not None and row.quota_used >= row.quota,
        "customer-limit": row.own_quota is not None and row.own_used >= row.own_quota,
        "minimum-order": same_currency and basket.value < row.min_order,
        "product-missing": row.product_id is not None and row.product_id not in bought,
    }
    return tuple(reason for reason, holds in against.items() if holds)


def _redeemed(statements: Statements, ask: Ask, row: Found, hoped: Verdict, now: datetime) -> Verdict:
    """The verdict after the database has decided."""
    reason = uses.use(statements, row, *_written(ask, row, hoped.discount, now))
    if reason is None:
        return hoped
    fresh = _find(statements, ask)
    verdict = _judged(ask, fresh, to_micros(now))  # perhaps this very order has been here meanwhile
    if verdict.valid and (fresh is None or fresh.redeemed_at is None):
        # freed in this moment by a rollback: what was decided stands
        return Verdict(False, (reason,), hoped.incentive, 0, hoped.product_id)
    return verdict


def _written(ask: Ask, row: Found, discount: int, now: datetime) -> tuple[dict[str, Any], dict[str, Any]]:
    """The rows a redemption leaves: its own, and the event that tells measurement of it."""
    order_id = _order_id(ask)
    redemption = {
        "code": row.code,
        "order_id": order_id,
        "unit_id": row.unit_id,
        "quota_key": row.quota_key,
        "at": to_micros(now),
        "discount": discount,
    }
    told = {"code": row.code, "order_id": order_id, "discount": to_wire(discount, row.currency)}
    event = Event(
        f"redeemed:{row.code}:{order_id}",
        "promotion-redeemed",
        now,
        row.unit_id,
        row.decision_id,
        row.offer_id,
        row.product_id,
        payload=told,
        received_at=now,
    )
    return redemption, event_row(event)


def _order_id(ask: Ask) -> str:
    if ask.basket.order_id is None:
        raise bad_field("order.order_id", None, "must say for which order the code is used")
    return ask.basket.order_id


def _code_row(grant: Grant, code: str) -> dict[str, Any]:
    return {
        "code": code,
        "unit_id": grant.unit_id,
        "offer_id": grant.offer_id,
        "decision_id": grant.decision_id,
        "campaign": grant.campaign,
        "run_on": None if grant.run_on is None else grant.run_on.isoformat(),
        "product_id": grant.product_id,
        "incentive": to_json(grant.incentive),
        "min_order": grant.min_order,
        "currency": grant.currency,
        "valid_from": to_micros(grant.valid_from),
        "valid_until": to_micros(grant.valid_until),
        "max_uses": grant.max_uses,
        "used": 0,
        "quota_key": grant.quota_key,
    }


def _inserted(connection: Connection, rows: list[dict[str, Any]]) -> dict[tuple[str, str], str]:
    """(unit, offer) -> code of the rows, those that were there before included."""
    new = queries.insert(connection.dialect, codes)
    until = new.excluded.valid_until
    upsert = new.on_conflict_do_update(
        index_elements=[codes.c.unit_id, codes.c.offer_id],
        set_={"valid_until": case((until > codes.c.valid_until, until), else_=codes.c.valid_until)},
    ).returning(codes.c.unit_id, codes.c.offer_id, codes.c.code)
    return {(unit, offer): code for unit, offer, code in connection.execute(upsert, rows)}


def _limit(connection: Connection, grants: Sequence[Grant]) -> None:
    """Set how often each incentive may be used, by all (unit "") and by one; what was used stays.

    Uses from before an incentive was limited count as well.
    """
    limits = {
        (grant.quota_key, unit): quota
        for grant in grants
        for unit, quota in (("", grant.quota), (grant.unit_id, grant.per_customer))
        if grant.quota_key is not None and quota is not None
    }
    rows = [
        {"quota_key": key, "unit_id": unit, "quota": quota, "key": key, "unit": unit}
        for (key, unit), quota in sorted(limits.items())
    ]
    if rows:
        new = queries.insert(connection.dialect, quotas).values(used=_used_before())
        upsert = new.on_conflict_do_update(
            index_elements=[quotas.c.quota_key, quotas.c.unit_id], set_={"quota": new.excluded.quota}
        )
        connection.execute(upsert, rows)


def _used_before() -> ColumnElement[int]:
    """Uses of incentive :key so far, by all or by :unit, that the first row of a limit begins with."""
    key, unit = bindparam("key", type_=String), bindparam("unit", type_=String)
    used = select(func.count()).select_from(redemptions)
    used = used.where(redemptions.c.quota_key == key, redemptions.c.rolled_back_at.is_(None))
    limited = exists().where(quotas.c.quota_key == key, quotas.c.unit_id == unit)
    own = used.where(redemptions.c.unit_id == unit)
    # a limit that is there already is not counted again: CASE stops at the first that holds
    return case((limited, 0), (unit == "", used.scalar_subquery()), else_=own.scalar_subquery())
