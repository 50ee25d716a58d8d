"""The ranges of real shops for each stylised fact, and which setting moves it most.

From Online Retail, Ta-Feng, CDNOW, dunnhumby The Complete Journey, ESSEC purchases and a grocery log.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Target:
    """The range of one figure in real shops, and the setting that moves it most."""

    fact: int
    low: float
    high: float
    blame: str


TARGETS: dict[str, Target] = {
    "popularity_slope": Target(1, 0.40, 0.65, "product_popularity"),
    "top_1_share": Target(2, 0.08, 0.18, "family_popularity"),
    "top_20_share": Target(2, 0.55, 0.72, "product_popularity"),
    "lines_median": Target(3, 2, 5, "basket_median"),
    "lines_mean": Target(3, 4, 7, "basket_median"),
    "lines_p95": Target(3, 11, 20, "basket_spread"),
    "lines_cv": Target(3, 0.9, 1.2, "order_spread"),
    "single_line_share": Target(4, 0.08, 0.25, "basket_median"),
    "one_time_share": Target(5, 0.30, 0.52, "lapse_at_once"),
    "orders_gini": Target(6, 0.46, 0.62, "rate_shape"),
    "orders_p99_over_mean": Target(6, 5, 8, "rate_shape"),
    "gap_median": Target(7, 20, 40, "rate"),
    "gap_cv": Target(7, 1.05, 1.5, "rate_shape"),
    "gap_cv_within": Target(8, 0.55, 0.95, "regular_share"),
    "gap_p90_over_p10": Target(9, 3, 6, "rate_shape"),
    "repeat_line_share": Target(10, 0.12, 0.40, "loyalty_high"),
    "repeat_pair_share": Target(10, 0.09, 0.28, "taste_share"),
    "recency_frequency": Target(11, -0.85, -0.45, "lapse"),
    "frequency_spend": Target(11, 0.72, 0.85, "basket_spread"),
    "frequency_future": Target(11, 0.40, 0.58, "lapse"),
    "recency_buy_ratio": Target(12, 2, inf, "lapse"),
    "recency_buy_falls": Target(12, 1, 1, "lapse"),
    "top_20_spend_share": Target(13, 0.62, 0.76, "rate_shape"),
    "order_value_sd": Target(13, 0.7, 1.2, "price_spread"),
    "price_sd": Target(14, 0.75, 1.1, "price_spread"),
    "family_price_sd": Target(14, 0.31, 0.47, "ladder_step"),
    "between_family_share": Target(14, 0.55, 0.75, "price_spread"),
    "busiest_weekday": Target(15, 1.05, 1.5, "season"),
    "peak_week": Target(15, 1.2, 2.2, "season"),
    "return_line_share": Target(16, 0.015, 0.05, "return_base"),
    "return_document_share": Target(16, 0.08, 0.20, "return_extra"),
    "return_value_share": Target(16, 0.03, 0.09, "return_extra"),
    "lift_median": Target(17, 1.8, 3, "taste_share"),
    "lift_p90": Target(17, 3.5, 11, "taste_families"),
    "lift_p99": Target(17, 9, 60, "companion_high"),
    "new_product_share": Target(18, 0.04, 0.12, "launch_share"),
}


@dataclass(frozen=True, slots=True)
class Miss:
    """A figure out of the range of real shops."""

    name: str
    value: float
    target: Target

    def __str__(self) -> str:
        low, high = self.target.low, self.target.high
        return (
            f"fact {self.target.fact}, {self.name}: {self.value:.3f} is outside {low:g}..{high:g}; "
            f"the setting most likely to blame is {self.target.blame}"
        )


def misses(found: dict[str, float]) -> list[Miss]:
    """The figures that are out of the range of real shops."""
    return [
        Miss(name, found[name], target)
        for name, target in TARGETS.items()
        if name in found and not target.low <= found[name] <= target.high
    ]
