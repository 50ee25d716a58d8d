"""Charts as SVG inside the page: drawn here, without a script, a font or a file from elsewhere.

Altair says what is drawn, vl-convert draws it. A reader who sees no picture gets its text, and the table beside
it holds the same figures.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from xml.etree import ElementTree

from nextoffer.measurement.page.markup import Html, el

_REMEMBERED = 64  # pictures: a page that was too large is written again with fewer of the same
_WIDTH = 185  # of the plot: with its labels it fits a telephone
_LABELS = 150  # pixels a name may take
_TONES = {
    "win": ("#116329", "triangle-up"),
    "loss": ("#a40e26", "triangle-down"),
    "unknown": ("#6f4400", "circle"),
    "more": ("#57606a", "triangle-up"),
    "less": ("#57606a", "triangle-down"),
}
_INK, _LINE = "#1b1f24", "#d0d7de"
_LOCALES = {"ru": "ru-RU"}  # how D3 calls the languages of ours that write numbers otherwise than English
_IDLE = frozenset({"version", "class", "role", "pointer-events", "opacity", "stroke-miterlimit"})
_NAMESPACE = "http://www.w3.org/2000/svg"
_FONT = "Liberation Sans, Arial, Helvetica, sans-serif"


@dataclass(frozen=True, slots=True)
class Span:
    """One line of a chart of effects: an estimate, its interval (an end may be infinite), and what it says."""

    name: str
    estimate: float
    low: float
    high: float
    tone: str


@lru_cache(_REMEMBERED)
def effects(spans: tuple[Span, ...], alternative: str, caption: str, format: str, language: str) -> Html:
    """Estimates with their intervals, one below the other, and a rule where there is no effect.

    Intervals that would squeeze the others are cut, and end in an arrow. `format` is D3's, such as "+.0%".
    """
    import altair as alt

    reach = _reach(spans)
    rows = [_row(span, reach) for span in spans]
    y = alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelLimit=_LABELS, ticks=False, domain=False))
    axis = alt.Axis(
        format=format,
        tickCount=4,
        labelFlush=False,
        gridColor="#eaeef2",
        labelOverlap=True,
        labelExpr="datum.value == 0 ? '0' : datum.label",
    )
    x = alt.X("from:Q", title=None, axis=axis, scale=alt.Scale(domain=_domain(rows), nice=False, zero=True))
    colour = alt.Color("colour:N", scale=None)
    base = alt.Chart(alt.Data(values=rows))
    none = alt.Chart(alt.Data(values=[{"at": 0}])).mark_rule(color=_INK, strokeDash=[3, 2])
    layers = [
        none.encode(x="at:Q"),
        base.mark_rule(strokeWidth=2).encode(y=y, x=x, x2="until:Q", color=colour),
        base.mark_point(size=70, opacity=1, strokeWidth=1.8).encode(
            y=y,
            x="estimate:Q",
            color=colour,
            fill=alt.Fill("fill:N", scale=None),
            shape=alt.Shape("shape:N", scale=None),
        ),
    ]
    for end, at, sign in (("low_cut", "from:Q", "triangle-left"), ("high_cut", "until:Q", "triangle-right")):
        if any(row[end] for row in rows):
            cut = base.transform_filter(f"datum.{end}").mark_point(
                shape=sign, size=50, filled=True, opacity=1
            )
            layers.append(cut.encode(y=y, x=at, color=colour))
    return _figure(alt.layer(*layers), len(rows), alternative, caption, language)


@lru_cache(_REMEMBERED)
def bars(
    rows: tuple[tuple[str, float], ...], alternative: str, caption: str, format: str, language: str
) -> Html:
    """Amounts side by side, from 0."""
    import altair as alt

    values = [{"name": name, "value": value} for name, value in rows]
    y = alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelLimit=_LABELS, ticks=False, domain=False))
    axis = alt.Axis(format=format, tickCount=3, gridColor="#eaeef2", labelFlush=False, labelOverlap=True)
    chart = alt.Chart(alt.Data(values=values)).mark_bar(color="#2f7fb8", height=14)
    return _figure(
        chart.encode(y=y, x=alt.X("value:Q", title=None, axis=axis)),
        len(rows),
        alternative,
        caption,
        language,
    )


def _reach(spans: Sequence[Span]) -> float:
    """How far from 0 is drawn: three times the usual interval's far end, and every estimate."""
    ends = [max(-span.low, span.high) for span in spans if math.isfinite(span.high - span.low)]
    furthest = max(abs(span.estimate) for span in spans)
    return max(3 * statistics.median(ends) if ends else 0.0, 1.2 * furthest, 1e-9)


def _row(span: Span, reach: float) -> dict[str, Any]:
    colour, shape = _TONES[span.tone]
    return {
        "name": span.name,
        "estimate": span.estimate,
        "from": max(span.low, -reach),
        "until": min(span.high, reach),
        "low_cut": span.low < -reach,
        "high_cut": span.high > reach,
        "colour": colour,
        "fill": "white" if span.tone == "unknown" else colour,
        "shape": shape,
    }


def _domain(rows: Sequence[dict[str, Any]]) -> list[float]:
    low = min(0.0, *(row["from"] for row in rows))
    high = max(0.0, *(row["until"] for row in rows))
    air = 0.06 * (high - low or 1.0)
    return [low - air, high + air]


def _figure(chart: Any, n_rows: int, alternative: str, caption: str, language: str) -> Html:
    import vl_convert

    drawn = (
        chart.properties(width=_WIDTH, height=26 * n_rows)
        .configure(font=_FONT, padding=4, background="white")
        .configure_axis(labelPadding=4, labelColor=_INK, labelFontSize=12, domainColor=_LINE, tickColor=_LINE)
        .configure_view(stroke=None)
    )
    locale: Any = _LOCALES.get(language)
    svg = vl_convert.vegalite_to_svg(
        drawn.to_dict(validate=False), format_locale=locale, allowed_base_urls=[]
    )
    return el("figure", _lean(svg, alternative), el("figcaption", caption))


def _lean(svg: str, alternative: str) -> Html:
    """One picture with a text for those who hear it; without what Vega writes for its own script."""
    root = ElementTree.fromstring(svg.replace(f' xmlns="{_NAMESPACE}"', "", 1))  # noqa: S314  drawn above
    for parent in root.iter():
        for child in list(parent):
            if child.tag == "path" and child.get("d", "") in ("", "M0,0h0v0h0Z"):
                parent.remove(child)
        for name in [name for name in parent.keys() if name in _IDLE or name.startswith("aria-")]:
            del parent.attrib[name]
        for name in ("d", "transform", "x2", "y2"):
            if name in parent.attrib:
                parent.set(name, re.sub(r"(\.\d\d)\d+", r"\1", parent.attrib[name]))
    root.set("role", "img")
    root.set("aria-label", alternative)
    return Html(ElementTree.tostring(root, encoding="unicode"))
