"""Documents of `measure --json` and sheets, made up, for whatever writes them for people."""

from __future__ import annotations

from typing import Any

from nextoffer.measurement.sheet import Column, Sheet
from nextoffer.texts import said, text

Document = dict[str, Any]
NAUGHTY = '<script>alert("1")</script> & Co'
SEGMENTS = ("Champions", "Promising", "At risk", "Hibernating", "Lost")


def effect(
    verdict: str = "win",
    size: tuple[float | None, float | None, float | None] = (1.05, 0.31, 1.92),
    mean: float = 14.2,
    n: tuple[int, int] = (9_000, 1_000),
    buyers: tuple[int, int] = (3_000, 330),
    **more: Any,
) -> Document:
    """An effect; `size` is the difference and the ends of its interval."""
    difference, low, high = size
    known = difference is not None
    shares = [None if end is None or not mean else end / mean for end in size]
    return {
        "verdict": verdict,
        "difference": difference,
        "low": low,
        "high": high,
        "p": 0.0042 if known else None,
        "relative": shares[0],
        "relative_low": shares[1],
        "relative_high": shares[2],
        "relative_note": None,
        "welch_low": low,
        "welch_high": high,
        "detectable": 1.22 if known else None,
        "n_more": 0,
        "shape_differs": False,
        "n_permutations": 9_999,
        "seed": 123_456_789,
        "alpha": 0.025,
        "theta": None,
        "variance_cut": None,
        "q": None,
        "treated": {"n": n[0], "n_buyers": buyers[0], "mean": mean + (difference or 0)},
        "holdout": {"n": n[1], "n_buyers": buyers[1], "mean": mean},
        "small_holdout": buyers[1] < 100,
    } | more


FEW = effect("too few buyers", (None, None, None), n=(420, 44), buyers=(61, 5), n_more=460)
OPEN = effect("not shown", (0.3, -0.6, None), n_more=45_000, buyers=(700, 61))
LOSS = effect("loss", (-0.8, -1.5, -0.1))
NOTHING = effect("not shown", (0.01, -0.2, 0.2))
PARTS = (effect(q=0.014), OPEN | {"q": 0.3}, LOSS | {"q": 0.05}, NOTHING | {"q": 0.9}, FEW)


def metrics(profit: Document | None = None) -> dict[str, Document]:
    """All metrics, in no order people would read them in."""
    none = {"relative": None, "relative_note": said("no relative size: a group's total is not above 0")}
    return {
        "conversion": effect(size=(0.021, 0.008, 0.035), mean=0.31),
        "orders": effect(size=(0.06, 0.02, 0.11), mean=0.62),
        "units": effect(size=(0.14, 0.02, 0.26), mean=1.8),
        "revenue": effect(size=(3.2, 0.9, 5.6), mean=38.0, theta=0.62, variance_cut=0.41),
        "margin": effect(size=(1.3, 0.4, 2.4)),
        "profit": profit or effect(theta=0.62, variance_cut=0.41),
        "incentive_cost": effect(size=(0.2, 0.15, 0.25), mean=0.0, **none),
        "contact_cost": effect("too few buyers", (None, None, None), mean=0.0, buyers=(900, 0), n_more=None)
        | {"treated": {"n": 9_000, "n_buyers": 900, "mean": 0.05}},
        "repeat": effect("not shown", (0.004, -0.006, 0.013), mean=0.12, n_more=24_000),
        "average_order": effect("not shown", (0.8, -1.1, 2.9), mean=61.3, n_more=51_000),
    }


def checks(**more: Any) -> Document:
    """Checks that all hold."""
    return {
        "n_treated": 9_000,
        "n_holdout": 1_000,
        "holdout_share": 0.1,
        "split_p": 0.71,
        "strata_p": 0.2,
        "n_exposed_treated": 7_120,
        "n_exposed_holdout": 803,
        "early_exposure_p": 0.52,
        "exposure_p": 0.34,
        "n_contaminated": 2,
        "contaminated_share": 0.002,
        "n_crossed": 3,
        "n_altered": 0,
        "blocked": None,
        "triggered_blocked": None,
    } | more


def readout(name: str = "always-on", incremental: dict[str, Document] | None = None, **more: Any) -> Document:
    """One experiment's part of a document, with everything it can have."""
    return {
        "experiment": {"name": name, "version": 2},
        "what": "",
        "from": "2026-05-01T00:00:00+00:00",
        "until": "2026-08-31T00:00:00+00:00",
        "window_days": 28,
        "checks": checks(),
        "incremental": metrics() if incremental is None else incremental,
        "triggered": {"profit": effect(), "revenue": effect()},
        "segments": [
            {"key": name, "name": name, "effect": each, "q": each["q"]}
            for name, each in zip(SEGMENTS, PARTS, strict=True)
        ],
        "kinds": [{"key": "due", "name": NAUGHTY, "effect": effect(q=0.02), "q": 0.02}],
        "anytime": {"low": -0.1, "high": 2.3, "p": 0.06},
        "excluded": {
            "orders_before_assignment": 412,
            "still_open": 230,
            "guest_orders": 1_804,
            "in_both_groups": 3,
        },
        "notes": [],
        "attributed": {
            "n_orders": 1_293,
            "revenue": "81895.86",
            "cost": "2630.00",
            "roi_percent": 3013.9,
            "note": None,
        },
        "roi": {"attributed_percent": 3013.9, "incremental_percent": 359.0, "low": 111.0, "high": None},
        "naive": 21.4,
    } | more


def document(*readouts: Document, **more: Any) -> Document:
    """A whole document."""
    return {
        "from": "2026-05-01T00:00:00+00:00",
        "until": "2026-08-31T00:00:00+00:00",
        "currency": "GBP",
        "filter": {"segment": None, "kind": None, "category": None},
        "experiments": list(readouts),
    } | more


def sheets(n_rows: int = 5) -> tuple[Sheet, ...]:
    """One sheet of each sort: rows that differ, shares as a map, an amount worth a picture, prose."""
    periods = Sheet(
        "periods",
        text("This period and the one before (counted, not caused)"),
        (
            Column("kpi", text("KPI"), "key"),
            Column("heading", text("KPI")),
            Column("now", text("this period"), "row"),
            Column("before", text("the one before"), "row"),
            Column("change", text("change"), "change"),
        ),
        (
            ("orders", said("orders"), 1_091, 905, 0.2055),
            ("revenue", said("revenue"), 6_492_586, 4_792_571, 0.3547),
            ("repeat", said("bought twice or more"), 0.379, 0.383, -0.0104),
            ("average_order", said("average order"), 5_951.3, None, None),
            ("same", said("units"), 5, 5, 0.0),
        ),
        (),
        ("count", "money", "share", "average", "count"),
    )
    cohorts = Sheet(
        "cohorts",
        text("Who comes back: customers by the month of their first order"),
        (
            Column("month", text("first order in")),
            Column("customers", text("customers"), "count"),
            *(Column(f"month_{n}", f"+{n}", "share") for n in range(1, 13)),
        ),
        tuple(
            (f"2026-{at % 12 + 1:02d}", 100 + at, *(0.4 * 0.9**n if n < 12 - at else None for n in range(12)))
            for at in range(n_rows)
        ),
    )
    segments = Sheet(
        "segments",
        text("Segments (counted, not caused)"),
        (Column("name", text("segment")), Column("revenue", text("revenue"), "money")),
        tuple((f"{at}. {NAUGHTY}", 3_000_000 - 10_000 * at) for at in range(n_rows)),
    )
    prose = Sheet(
        "programmes",
        text("Targets"),
        tuple(
            Column(f"c{at}", heading)
            for at, heading in enumerate((text("KPI"), text("trend"), text("reached")))
        ),
        tuple((f"{at}", "1 " * 40, "2 " * 40) for at in range(n_rows)),
    )
    return periods, cohorts, segments, prose


BLOCKED = said(
    "{share} of the holdout met an offer: find out what shows offers to held-out customers.", share="7%"
)
DOCUMENTS = {
    "win": document(readout()),
    "loss": document(readout(incremental=metrics(LOSS))),
    "too few buyers": document(readout(incremental={"profit": FEW, "revenue": FEW | {"n_more": None}})),
    "too few to say how many": document(readout(incremental={"profit": FEW | {"n_more": None}})),
    "not yet known": document(readout(incremental=metrics(OPEN | {"shape_differs": True, "alpha": 0.01}))),
    "no difference": document(readout(incremental=metrics(NOTHING))),
    "only revenue is known": document(readout(incremental={"revenue": effect(), "orders": effect()}, roi={})),
    "blocked": document(readout(incremental={}, checks=checks(blocked=BLOCKED, split_p=0.5))),
    "nothing triggered": document(readout(checks=checks(triggered_blocked=BLOCKED, exposure_p=1e-9))),
    "the least": document({"experiment": {"name": "x", "version": 1}, "checks": checks()}),
    "nobody": document(),
    "several": document(readout(), readout("spring-sale", metrics(LOSS)), filter={"segment": "Champions"}),
}  # fmt: skip
