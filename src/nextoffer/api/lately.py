"""What happened since the bundle was made, as a slate needs it: live orders, carts left behind, stock, codes used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from operator import itemgetter
from threading import Lock
from typing import Final

from nextoffer.api.service import Status
from nextoffer.api.writer import LedgerPort
from nextoffer.config import Settings
from nextoffer.domain.arrays import Ints
from nextoffer.domain.menu import Menu
from nextoffer.domain.offers import SlateRequest
from nextoffer.offers.display import period
from nextoffer.tracking.counts import used, used_by
from nextoffer.tracking.holdout import hash_share
from nextoffer.tracking.queries import left_behind
from nextoffer.tracking.reach import event_made

FRESH: Final = timedelta(seconds=1)  # what the whole shop sold and used is asked for at most this often


class Lately:
    """The ledger's news for slates; threads may share it."""

    def __init__(self, ledger: LedgerPort, settings: Settings) -> None:
        self._ledger, self._settings = ledger, settings
        self._lock = Lock()
        self._asked: tuple[str, datetime] | None = None
        self._sold: Mapping[str, float] = {}
        self._used: Mapping[str, int] = {}

    def told(
        self, request: SlateRequest, units: tuple[str, ...], bundle: Status, menu: Menu | None, now: datetime
    ) -> SlateRequest:
        """The request with what its customer did since the bundle was made, and the draw that varies the depth of
        their discounts.

        The draw is the same for as long as an offer is valid: whoever loads the page again sees the same price.

        Parameters
        ----------
        units : the ids of one person: the customer's, and the visitor's whom they were before they logged in
        """
        sold, uses = self._of_all(bundle, menu, now)
        request = replace(request, sold=sold, used=uses)
        if not units:
            return request
        unit = units[0]
        days = timedelta(days=self._settings.offers.abandoned_days)
        seen = [one for each in units for one in self._ledger.recent_interactions(each, now - days)]
        seen.sort(key=itemgetter(2), reverse=True)
        since = self._bought(units, min(bundle.as_of, now - days)) if seen else ()
        limited = _limited(menu, one=True)
        return replace(
            request,
            bought=self._bought(units, bundle.as_of),
            seen=left_behind(seen, frozenset(since), now),
            used_by=_named(limited, used_by(self._ledger, [unit], limited)[0]) if limited else {},
            event_made=bool(event_made(self._ledger, [unit], now, message=False)[0]),
            explore=True,
            draw=self._draw(unit, now),
        )

    def _bought(self, units: tuple[str, ...], since: datetime) -> tuple[str, ...]:
        return tuple(sorted({product for unit in units for product in self._ledger.orders_of(unit, since)}))

    def _draw(self, unit: str, now: datetime) -> float:
        span = period(now, self._settings.zone, self._settings.offers.valid_days)
        return float(hash_share(f"{self._settings.seed}:{span}", [unit])[0])

    def _of_all(
        self, bundle: Status, menu: Menu | None, now: datetime
    ) -> tuple[Mapping[str, float], Mapping[str, int]]:
        """Units sold since the bundle was made, and uses of limited incentives, by the whole shop."""
        with self._lock:
            asked = self._asked
            if asked is None or asked[0] != bundle.bundle_id or not timedelta(0) <= now - asked[1] < FRESH:
                limited = _limited(menu, one=False)
                self._sold = self._ledger.units_sold(bundle.as_of)
                self._used = _named(limited, used(self._ledger, limited)) if limited else {}
                self._asked = bundle.bundle_id, now
            return self._sold, self._used


def _named(names: tuple[str, ...], counts: Ints) -> dict[str, int]:
    return dict(zip(names, counts.tolist(), strict=True))


def _limited(menu: Menu | None, one: bool) -> tuple[str, ...]:
    """Incentives of which there are only so many: in all, or for one customer."""
    if menu is None:
        return ()
    most = menu.per_customer if one else menu.quota
    return tuple(name for name, limit in zip(menu.name, most.tolist(), strict=True) if limit >= 0)
