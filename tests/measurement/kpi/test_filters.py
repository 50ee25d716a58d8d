"""Every table takes every filter, and says what it was narrowed to or that it was not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.measurement.kpi.shops import answer, line, person, shop, window

from nextoffer.measurement.kpi import Counted, Filter, count
from nextoffer.measurement.kpi.cohorts import cohorts
from nextoffer.measurement.kpi.joining import joining
from nextoffer.measurement.kpi.members import members
from nextoffer.measurement.kpi.periods import periods
from nextoffer.measurement.kpi.rewards import programmes, reward_types
from nextoffer.measurement.kpi.segments import segments, targets
from nextoffer.measurement.kpi.surveys import answers, answers_by_month
from nextoffer.measurement.records import Records
from nextoffer.measurement.sheet import Sheet
from nextoffer.texts import Said

TABLES: dict[str, Callable[[Counted], Sheet]] = {
    "periods": lambda counted: periods(counted, counted),
    "segments": segments,
    "targets": lambda counted: targets(counted, {"orders": 1, "lost": {"revenue": 5}}),
    "members": members,
    "joining": lambda counted: joining(counted.records, counted.window, 5, counted.terms, counted.filter),
    "cohorts": lambda counted: cohorts(counted.records, counted.window, counted.terms, counted.filter),
    "rewards": lambda counted: reward_types(
        counted.records, counted.window, 2, 1, counted.terms, counted.filter
    ),
    "programmes": lambda counted: programmes(counted, {}),
    "surveys": answers,
    "months": answers_by_month,
}
BY_CATEGORY = {"periods", "segments", "targets", "members", "joining", "cohorts", "programmes"}
BY_KIND = {"rewards"}


@pytest.fixture(scope="module")
def two() -> Records:
    lines = [
        line(f"{who}{at}", who, at, 10_00, product_id=product, promo_code="A1")
        for who in ("ann", "bob")
        for at in (-50.0, -3.0, 4.0, 15.0)
        for product in ("tea", "pot")
    ]
    return shop(
        lines,
        [person("ann", "club", 10), person("bob")],
        [answer("nps", 9, 2, "ann"), answer("review", 1e300, 2, "ann"), answer("csi", 3, 2, "bob", "site")],
        {"ann": "loyal", "bob": "lost"},
        {"tea": "Tea", "pot": "Pots"},
    )


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize(
    "narrowed", [Filter(), Filter("lost"), Filter(category="Tea"), Filter(kind="win_back")]
)
def test_every_table_takes_every_filter_and_says_what_it_did(
    two: Records, name: str, narrowed: Filter
) -> None:
    sheet = TABLES[name](count(two, window(), filter=narrowed))

    notes = " ".join(sheet.notes)
    assert ("in the segment Lost" in notes) == (narrowed.segment is not None)
    assert ("Only lines of Tea" in notes) == (narrowed.category is not None and name in BY_CATEGORY)
    assert ("by category does not" in notes) == (narrowed.category is not None and name not in BY_CATEGORY)
    assert ("of the kind Win-back" in notes) == (narrowed.kind is not None and name in BY_KIND)
    assert ("by kind of offer does not" in notes) == (narrowed.kind is not None and name not in BY_KIND)
    assert sheet.records("EUR") is not None and all(len(row) == len(sheet.columns) for row in sheet.rows)
    assert len(sheet.formats) in (0, len(sheet.rows))


@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_said_in_russian(two: Records, name: str) -> None:
    sheet = TABLES[name](count(two, window()))

    for told in (*sheet.notes, *(cell for row in sheet.rows for cell in row)):
        if isinstance(told, Said) and any(letter.isalpha() for letter in told):
            assert told.in_("ru") != told or told in ("NPS", "CSI", "ROI"), told


def test_half_a_category_is_half_the_revenue(two: Records) -> None:
    whole, part = (
        count(two, window(), filter=narrowed).totals for narrowed in (Filter(), Filter(category="Tea"))
    )

    assert part["revenue"] * 2 == whole["revenue"] and part["orders"] == whole["orders"]
