"""What customers say: NPS whose interval holds, CSI by aspects, months of the shop."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multinomial, norm
from tests.measurement.kpi.shops import answer, line, shop, window

from nextoffer.measurement.kpi import Terms, count
from nextoffer.measurement.kpi.surveys import answers, answers_by_month, nps_interval
from nextoffer.measurement.records import Records


def coverage(n: int, shares: tuple[float, float, float]) -> float:
    """How often the interval holds the truth, over every outcome of n answers."""
    truth = 100 * (shares[0] - shares[2])
    held = 0.0
    for up in range(n + 1):
        for mid in range(n + 1 - up):
            low, high = nps_interval(up, mid, n - up - mid) or (0.0, 0.0)
            if low <= truth <= high:
                held += multinomial.pmf([up, mid, n - up - mid], n, shares)
    return held


@pytest.mark.parametrize("n", [10, 30, 60])
@pytest.mark.parametrize(
    "shares", [(0.5, 0.3, 0.2), (0.7, 0.2, 0.1), (0.2, 0.3, 0.5), (0.4, 0.5, 0.1), (0.1, 0.8, 0.1)]
)
def test_an_interval_of_few_answers_holds_the_true_nps_95_times_in_100(
    n: int, shares: tuple[float, float, float]
) -> None:
    assert coverage(n, shares) >= 0.93


def test_of_many_answers_the_interval_is_the_usual_one() -> None:
    low, high = nps_interval(500_000, 300_000, 200_000) or (0.0, 0.0)
    half = 100 * norm.ppf(0.975) * np.sqrt((0.7 - 0.3**2) / 1e6)
    assert (low, high) == pytest.approx((30 - half, 30 + half), abs=1e-3)


def test_an_interval_stays_on_the_scale_and_holds_its_nps() -> None:
    for up, mid, down in ((1, 0, 0), (0, 0, 1), (3, 0, 0), (0, 1, 0), (200, 0, 0)):
        low, high = nps_interval(up, mid, down) or (0.0, 0.0)
        assert -100 <= low <= 100 * (up - down) / (up + mid + down) <= high <= 100
    assert nps_interval(0, 0, 0) is None


@pytest.fixture(scope="module")
def asked() -> Records:
    return shop(
        [line("1", "ann", 1, 1_00)],
        surveys=[
            answer("nps", 10, 1, "ann"),
            answer("nps", 8, 2, "bob"),
            answer("nps", 0, 3),
            answer("nps", 12, 3),
            answer("csi", 5, 4, "ann", "delivery"),
            answer("csi", 1, 4, "bob", "site"),
            answer("csi", 2, 40, "bob", "site"),
            answer("review", 3, 30.95, "bob"),
            answer("review", 4, -1),
        ],
        segments={"ann": "champions", "bob": "lost"},
    )


def test_answers_of_everybody_segments_and_aspects(asked: Records) -> None:
    sheet = answers(count(asked, window()))
    told = {row["part"]: row for row in sheet.records("EUR")}

    assert list(told) == [
        "all",
        "segment:champions",
        "segment:lost",
        "segment",
        "aspect:delivery",
        "aspect:site",
    ]
    assert (told["all"]["nps"], told["all"]["nps_answers"]) == (0.0, 3)
    assert (told["all"]["csi"], told["all"]["csi_answers"], told["all"]["reviews"]) == (3.0, 2, 0)
    assert told["segment:champions"]["nps"] == 100.0 and told["segment:lost"]["nps"] == 0.0
    assert told["segment"]["nps"] == -100.0 and told["segment"]["who"] == "in no segment"
    assert told["aspect:site"]["csi"] == 1.0 and told["aspect:site"]["nps"] is None
    assert any("1 to 5" in note for note in sheet.notes) and any(
        "outside 0 to 10" in note for note in sheet.notes
    )


def test_an_aspect_may_count_more(asked: Records) -> None:
    counted = count(asked, window(), Terms(csi_weights={"delivery": 3}))

    assert (
        answers(counted).records("EUR")[0]["csi"]
        == (3 * 5 + 1) / 4
        == counted.totals["csi_score"] / counted.totals["csi_weight"]
    )


def test_months_of_answers_are_the_shops(asked: Records) -> None:
    utc = answers_by_month(count(asked, window(-5, 45)))
    local = answers_by_month(count(asked, window(-5, 45), Terms(zone="Europe/Moscow")))

    assert [(row[0], row[-1]) for row in utc.rows] == [("2026-02", 1), ("2026-03", 1), ("2026-04", 0)]
    assert [(row[0], row[-1]) for row in local.rows] == [("2026-02", 1), ("2026-03", 0), ("2026-04", 1)]


def test_without_answers_there_is_nothing_to_say() -> None:
    counted = count(shop([line("1", "ann", 1, 1_00)]), window())

    assert answers(counted).rows == () and answers(counted).notes == ()
