"""The statements by which codes are used: what decides is the database, in one guarded UPDATE.

Writers lock in one order everywhere, quotas before codes and each sorted, so that they wait but never in a ring.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from nextoffer.tracking.database import Statements

FOUND = """
SELECT c.code, c.unit_id, c.offer_id, c.decision_id, c.product_id, c.incentive, c.min_order, c.currency,
       c.valid_from, c.valid_until, c.max_uses, c.used, c.quota_key,
       r.at, r.discount, r.rolled_back_at, a.quota, a.used, o.quota, o.used
FROM codes c
LEFT JOIN redemptions r ON r.code = c.code AND r.order_id = :order_id
LEFT JOIN quotas a ON a.quota_key = c.quota_key AND a.unit_id = ''
LEFT JOIN quotas o ON o.quota_key = c.quota_key AND o.unit_id = c.unit_id
WHERE c.code = :code
"""
USE = "UPDATE codes SET used = used + 1 WHERE code = :code AND used < max_uses RETURNING used"
UNUSE = "UPDATE codes SET used = used - 1 WHERE code = :code RETURNING used"
DRAW = """
UPDATE quotas SET used = used + 1 WHERE quota_key = :quota_key AND unit_id = :unit_id AND used < quota
RETURNING used
"""
UNDRAW = """
UPDATE quotas SET used = used - 1 WHERE quota_key = :quota_key AND unit_id = :unit_id RETURNING used
"""
LOCK_CODE = "SELECT used FROM codes WHERE code = :code FOR UPDATE"
LOCK_QUOTA = "SELECT used FROM quotas WHERE quota_key = :quota_key AND unit_id = :unit_id FOR UPDATE"
REDEEMED = """
INSERT INTO redemptions (code, order_id, unit_id, quota_key, at, discount)
VALUES (:code, :order_id, :unit_id, :quota_key, :at, :discount) ON CONFLICT DO NOTHING RETURNING code
"""
ROLLED_BACK = """
UPDATE redemptions SET rolled_back_at = :at
WHERE code = :code AND order_id = :order_id AND rolled_back_at IS NULL RETURNING code
"""
HAPPENED = """
INSERT INTO events (event_id, decision_id, offer_id, unit_id, product_id, type, at, payload, received_at)
VALUES (:event_id, :decision_id, :offer_id, :unit_id, :product_id, :type, :at, :payload, :received_at)
ON CONFLICT DO NOTHING RETURNING event_id
"""


class Found(NamedTuple):
    """A code, what an order has to do with it, and its quotas (None where there are none)."""

    code: str
    unit_id: str
    offer_id: str
    decision_id: str | None
    product_id: str | None
    incentive: str
    min_order: int
    currency: str
    valid_from: int
    valid_until: int
    max_uses: int
    used: int
    quota_key: str
    redeemed_at: int | None
    discount: int
    rolled_back_at: int | None
    quota: int | None
    quota_used: int
    own_quota: int | None
    own_used: int

    @property
    def draws(self) -> list[tuple[str, str]]:
        """The quotas it draws on: that of all, and its customer's own."""
        limits = (("", self.quota), (self.unit_id, self.own_quota))
        return [(self.quota_key, unit) for unit, quota in limits if quota is not None]


def find(database: Statements, code: str, order_id: str | None) -> Found | None:
    """The code as it is now; None if there is no such code."""
    row = database.one(FOUND, {"code": code, "order_id": order_id})
    return None if row is None else Found(*row)


def lock_quotas(database: Statements, codes: Iterable[Found]) -> None:
    """Wait for whoever draws on the same quotas (on SQLite the transaction has waited for everybody already)."""
    if database.locks_rows:
        for quota_key, unit_id in sorted({draw for code in codes for draw in code.draws}):
            database.one(LOCK_QUOTA, {"quota_key": quota_key, "unit_id": unit_id})


def use(
    database: Statements, found: Found, redeemed: Mapping[str, Any], event: Mapping[str, Any]
) -> str | None:
    """Use a code once, draw on its quotas, and write the redemption and its event: all of it or nothing.

    Returns
    -------
    None, or why not: `used-already`, `quota-exhausted`, `customer-limit`, `again` (by the same order)
    """
    database.one("SAVEPOINT attempt")
    reason = _use(database, found, redeemed)
    if reason is None:
        database.one(HAPPENED, event)
    else:
        database.one("ROLLBACK TO SAVEPOINT attempt")
    database.one("RELEASE SAVEPOINT attempt")
    return reason


def _use(database: Statements, found: Found, redeemed: Mapping[str, Any]) -> str | None:
    if database.one(USE, {"code": found.code}) is None:
        return "used-already"
    if database.one(REDEEMED, redeemed) is None:
        return "again"
    for quota_key, unit_id in found.draws:
        if database.one(DRAW, {"quota_key": quota_key, "unit_id": unit_id}) is None:
            return "customer-limit" if unit_id else "quota-exhausted"
    return None


def give_back(database: Statements, found: Found, order_id: str, at: int) -> None:
    """Take the use of a code for an order back, once, whoever else does the same."""
    lock_quotas(database, [found])
    if database.locks_rows:
        database.one(LOCK_CODE, {"code": found.code})
    if database.one(ROLLED_BACK, {"code": found.code, "order_id": order_id, "at": at}) is None:
        return
    database.one(UNUSE, {"code": found.code})
    for quota_key, unit_id in found.draws:
        database.one(UNDRAW, {"quota_key": quota_key, "unit_id": unit_id})
