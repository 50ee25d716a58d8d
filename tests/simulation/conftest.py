"""One default shop and one small shop for all tests of the simulation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nextoffer.simulation.settings import ShopSettings
from nextoffer.simulation.shop import Shop, ShopPaths


@dataclass(frozen=True)
class Written:
    """A shop whose history stands on disk."""

    shop: Shop
    paths: ShopPaths

    def table(self, name: str) -> pa.Table:
        path = self.paths.folder / name
        return pq.read_table(path if path.is_dir() else path.with_suffix(".parquet"))


def written(folder: Path, settings: ShopSettings, world_seed: int = 7, luck_seed: int = 7) -> Written:
    shop = Shop(settings, world_seed, luck_seed)
    return Written(shop, shop.write_history(folder))


@pytest.fixture
def write_shop() -> Callable[..., Written]:
    """Writes the history of a shop with the settings given into a folder."""
    return written


@pytest.fixture(scope="session")
def default_shop(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return written(tmp_path_factory.mktemp("default"), ShopSettings())


@pytest.fixture(scope="session")
def small_shop(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """2,000 customers, one year, offers that work five times as well as in real life."""
    settings = ShopSettings(customers=2_000, products=600, weeks=52, offer_effect=5.0)
    return written(tmp_path_factory.mktemp("small"), settings)
