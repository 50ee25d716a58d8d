"""A synthetic shop whose truth is known, for the demo, the tests and the benchmarks."""

from nextoffer.simulation.effect import planted
from nextoffer.simulation.settings import ShopSettings
from nextoffer.simulation.shop import Shop, ShopPaths, StepRows

__all__ = ["Shop", "ShopPaths", "ShopSettings", "StepRows", "planted"]
