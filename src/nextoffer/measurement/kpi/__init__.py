"""How the shop does, and what may be put down to offers: counted, attributed, never called caused."""

from nextoffer.measurement.kpi.counting import Counted, Filter, Terms, count
from nextoffer.measurement.kpi.registry import KPIS, Kpi, kpi, roi_attributed, roi_incremental
from nextoffer.measurement.kpi.windows import Preset, Window, compared

__all__ = [
    "KPIS",
    "Counted",
    "Filter",
    "Kpi",
    "Preset",
    "Terms",
    "Window",
    "compared",
    "count",
    "kpi",
    "roi_attributed",
    "roi_incremental",
]
