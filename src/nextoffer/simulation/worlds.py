"""Worlds that differ as real shops do, so that nothing is tuned to one of them."""

from __future__ import annotations

from dataclasses import replace

from nextoffer.simulation.luck import Stream, lognormal, uniform
from nextoffer.simulation.settings import ShopSettings

SPREAD = 0.25  # of the logarithm, of each mean
MARGIN = 0.06  # margins lie so much higher or lower at most
REFILLS = (0.2, 0.5)  # share of refill families


def varied(settings: ShopSettings, seed: int) -> ShopSettings:
    """The shop with its rates, lapses, responses, refills and margins drawn for this seed."""
    u = [float(uniform(seed, Stream.WORLD, 0, 0, part)[0]) for part in range(7)]
    means = ("rate", "lapse", "response", "discount_response", "pull_forward")
    factors = [float(lognormal(draw, 1.0, SPREAD)) for draw in u[: len(means)]]  # type: ignore[arg-type]
    scaled = {name: getattr(settings, name) * by for name, by in zip(means, factors, strict=True)}
    moved = MARGIN * (2.0 * u[5] - 1.0)
    return replace(
        settings,
        **scaled,
        refill_share=REFILLS[0] + (REFILLS[1] - REFILLS[0]) * u[6],
        margin_low=settings.margin_low + moved,
        margin_high=settings.margin_high + moved,
    )
