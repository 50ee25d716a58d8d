"""The small shop's past with its rankers fitted once a session, and one cut-off of it."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import Any

import pytest

from nextoffer.backtest.tasks import Case
from nextoffer.models.ranker import Ranker
from nextoffer.models.recipe import Past


class Taught(Past):
    """A past that fits the ranker of a moment once."""

    rankers: dict[datetime, Ranker] = {}  # noqa: RUF012 — shared by the copies tests make of it

    def ranker(self, as_of: datetime) -> Ranker:
        if as_of not in self.rankers:
            self.rankers[as_of] = super().ranker(as_of)
        return self.rankers[as_of]


@pytest.fixture(scope="session")
def past(small_shop_learned: Any) -> Taught:
    shop = small_shop_learned
    return Taught(**{field.name: getattr(shop.past, field.name) for field in fields(Past)})


@pytest.fixture(scope="session")
def case(small_shop_learned: Any, past: Taught) -> Case:
    shop = small_shop_learned
    return Case.of(past.ranker(shop.cut.as_of), shop.cut.lesson, shop.kitchen.seed)
