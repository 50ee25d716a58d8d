"""The small shop's past with its models taught once a session, and one cut-off of it."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import Any

import pytest

from nextoffer.backtest.tasks import Case
from nextoffer.models.recipe import Past
from nextoffer.models.taught import Taught


class TaughtOnce(Past):
    """A past that teaches each moment once."""

    known: dict[datetime, Taught] = {}  # noqa: RUF012 — shared by the copies tests make of it

    def taught(self, as_of: datetime) -> Taught:
        if as_of not in self.known:
            self.known[as_of] = super().taught(as_of)
        return self.known[as_of]


@pytest.fixture(scope="session")
def past(small_shop_learned: Any) -> TaughtOnce:
    shop = small_shop_learned
    return TaughtOnce(**{field.name: getattr(shop.past, field.name) for field in fields(Past)})


@pytest.fixture(scope="session")
def case(small_shop_learned: Any, past: TaughtOnce) -> Case:
    shop = small_shop_learned
    return Case.of(past.taught(shop.cut.as_of), shop.cut, shop.kitchen.seed)
