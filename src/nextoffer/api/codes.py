"""The routes of codes: a shop's till asks whether one holds, uses it, and takes the use back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from nextoffer.api import wire
from nextoffer.api.security import Keys, authenticate
from nextoffer.api.writer import GroupWriter, LedgerPort
from nextoffer.config import Settings
from nextoffer.domain.money import to_wire
from nextoffer.errors import BadRecordError
from nextoffer.tracking.codes import Ask, Verdict
from nextoffer.tracking.discounts import Basket, parse_basket


class CodeRoutes:
    """The endpoints of codes, for server keys only. Redemptions that arrive together share one flush to disk."""

    def __init__(
        self, ledger: LedgerPort, settings: Settings, keys: Keys, clock: Callable[[], datetime]
    ) -> None:
        self._ledger, self._settings, self._keys, self._clock = ledger, settings, keys, clock
        self._redeemer: GroupWriter[Ask, Verdict] = GroupWriter(self._redeem_all)

    def close(self) -> None:
        """Commit what is waiting."""
        self._redeemer.close()

    async def validate(self, request: Request) -> Response:
        """POST /v1/codes/{code}:validate"""
        ask = await self._asked(request, with_order=True)
        verdict = await run_in_threadpool(self._ledger.codes.validate, ask, self._clock())
        return self._answer(verdict)

    async def redeem(self, request: Request) -> Response:
        """POST /v1/codes/{code}:redeem"""
        return self._answer(await self._redeemer.write(_named(await self._asked(request, with_order=True))))

    async def rollback(self, request: Request) -> Response:
        """POST /v1/codes/{code}:rollback"""
        ask = _named(await self._asked(request, with_order=False))
        return self._answer(await run_in_threadpool(self._ledger.codes.rollback, ask, self._clock()))

    def _redeem_all(self, asks: list[Ask]) -> list[Verdict]:
        return self._ledger.codes.redeem_all(asks, self._clock())

    async def _asked(self, request: Request, with_order: bool) -> Ask:
        caller = authenticate(request.headers, self._keys, self._clock())
        caller.must_be_server("/v1/codes")
        code: str = request.path_params["code"]
        wire.refuse_mangled(code, "code")
        wire.checked_id(code, "code")
        asked = wire.CodeBody.model_validate_json(await wire.whole_body(request))
        return Ask(code, asked.customer_id, self._basket(asked.order, with_order))

    def _basket(self, order: dict[str, Any], with_order: bool) -> Basket:
        if with_order:
            return parse_basket(order, self._settings.currency)
        # what was ordered does not matter any more
        return parse_basket({"order_id": order.get("order_id"), "total": 0}, self._settings.currency)

    def _answer(self, verdict: Verdict) -> Response:
        return wire.json_response(
            {
                "valid": verdict.valid,
                "incentive": verdict.incentive,
                "reasons": list(verdict.reasons),
                "discount": to_wire(verdict.discount, self._settings.currency),
                "currency": self._settings.currency,
                "product_id": verdict.product_id,
            }
        )


def _named(ask: Ask) -> Ask:
    """Refuse to use a code for an order that has no id: then nothing could tell a repetition from another order."""
    if ask.basket.order_id is None:
        raise BadRecordError("order.order_id must be given", "order.order_id")
    return ask
