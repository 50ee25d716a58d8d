"""How the shop does, and what may be put down to offers: counted, attributed, never called caused."""

from nextoffer.measurement.kpi.counting import Counted, Filter, Terms, count
from nextoffer.measurement.kpi.figures import ATTRIBUTION_DAYS, Attributed, Figures, Kpis, Participation
from nextoffer.measurement.kpi.registry import KPIS, Kpi, kpi, roi_attributed, roi_incremental
from nextoffer.measurement.kpi.windows import Preset, Window, compared

__all__ = [
    "ATTRIBUTION_DAYS",
    "KPIS",
    "Attributed",
    "Counted",
    "Figures",
    "Filter",
    "Kpi",
    "Kpis",
    "Participation",
    "Preset",
    "Terms",
    "Window",
    "compared",
    "count",
    "kpi",
    "roi_attributed",
    "roi_incremental",
]
