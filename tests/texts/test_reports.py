"""`check` and `measure` in Russian tell the same figures as in English, and no English word is left."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from rich.console import Console, RenderableType

from nextoffer.config import Experiment, parse_settings
from nextoffer.domain.history import History
from nextoffer.measurement.experiment import Arm, Effect
from nextoffer.measurement.kpi import Attributed, Kpis, Participation, Window
from nextoffer.measurement.report import Checks, Measurement, _check_groups, render
from nextoffer.sources.load import load_history
from nextoffer.sources.report import check_report
from nextoffer.texts import LANGUAGES, said

# Names of nextoffer's own keys and tables, formats, and what stands in the shop's data stay as they are.
KEPT = (
    r"nextoffer \S+|\[[a-z.]+\]|[\w.-]*[_./-][\w./-]*|--as-of|orders|products|customers|GBP|GB-\w+|ROI|id|p\b|nextoffer"
    r"|email|quantity|path|columns|always|[{}]|minus|D\d|[A-Z]\d|DOT|Welch"
)


def shown(report: RenderableType, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(report)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def english_words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z]{2,}", re.sub(KEPT, " ", text))


def figures(text: str) -> list[str]:
    """Digits of every number, whatever marks stand between them; codes are left out."""
    plain = re.sub(r"(?<=\d)[,.\u00a0](?=\d)", "", text)
    return sorted(re.findall(r"\d+", plain))


@pytest.fixture
def history(tmp_path: Any) -> tuple[History, Any]:
    lines = ["order_id,customer_id,product_id,quantity,unit_price,ordered_at"]
    for at in range(60):
        lines.append(
            f"{at},c{at % 7 if at % 5 else ''},p{at % 9},{1 + at % 3},2.50,2024-{1 + at % 2:02d}-{1 + at % 28:02d}"
        )
    lines += ["60,c1,p1,0,2.50,2024-01-05", "61,c1,DOT,1,2.50,2024-01-05", lines[-1]]
    (tmp_path / "orders.csv").write_text("\n".join(lines) + "\n")
    columns = {name: name for name in lines[0].split(",")}
    document = {
        "currency": "GBP",
        "max_reject_share": 0.1,
        "exclude_products": ["DOT"],
        "history": {"orders": {"path": "orders.csv", "columns": columns}},
    }
    settings = parse_settings(document, "nextoffer.toml", tmp_path)
    return load_history(settings, tmp_path / "out"), settings


def test_check_speaks_russian_and_counts_the_same(history: tuple[History, Any]) -> None:
    english, russian = (shown(check_report(*history, language), 160) for language in ("en", "ru"))

    assert figures(english) == figures(russian)
    assert "Данные годятся" in russian and "меньше года" in russian and "строка 61" in russian
    assert set(english_words(russian)) == set()
    assert "Rows" in english and shown(check_report(*history), 160) == english


def test_warnings_of_a_history_stay_english_texts_for_programs(history: tuple[History, Any]) -> None:
    assert any("less than a year" in warning for warning in history[0].warnings)


def measured_block(n_treated: int, n_holdout: int) -> str | None:
    """Why groups of these sizes give no readout, where one in two was to be held out."""
    moment = pa.timestamp("us", "UTC")
    groups = ["treated"] * n_treated + ["holdout"] * n_holdout
    assigned = pa.table(
        {
            "unit_id": [str(at) for at in range(len(groups))],
            "group": groups,
            "assigned_at": pa.array([datetime(2026, 5, 1, tzinfo=UTC)] * len(groups), moment),
        }
    )
    decided = pa.table({"decision_id": pa.array([], pa.string()), "unit_id": pa.array([], pa.string())})
    names = ("unit_id", "decision_id", "type")
    happened = pa.table({name: pa.array([], pa.string()) for name in names} | {"at": pa.array([], moment)})
    window = Window(datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC))
    return _check_groups(assigned, decided, happened, Experiment(holdout_share=0.5), window).blocked


ARMS = Arm(9_601, 2_402, 81_234.5), Arm(2_399, 480, 15_432.25)
WIN = Effect(
    *ARMS, "win", 2.03, 1.25, 2.81, 0.001, 0.0005, 0.9995, 0.316, 0.19, 0.44,
    welch_low=1.31, welch_high=2.75, detectable=1.1, n_more=0, n_permutations=9_999, seed=123_456_789,
)  # fmt: skip
OPEN = replace(WIN, verdict="not shown", high=float("inf"), relative_high=float("inf"), n_more=12_345)
FEW = Effect(*ARMS, "too few buyers", n_more=21)
KPIS = Kpis(2_882, 311, 3_204, 9_666_675, 48_123_456)
FULL = Measurement(
    experiment="always-on",
    version=2,
    currency="GBP",
    start=datetime(2026, 5, 1, tzinfo=UTC),
    end=datetime(2026, 6, 1, tzinfo=UTC),
    checks=Checks(9_601, 2_399, 0.2, 0.97, 0.0012, None),
    effects=(("orders", WIN), ("revenue", WIN), ("margin", OPEN)),
    participation=Participation(9_601, 8_000, 1_234, 321, 2_882, 1_500),
    now=KPIS,
    before=replace(KPIS, n_orders=3_001),
    members=KPIS,
    others=Kpis(0, 0, 0, 0, 0),
    attributed=Attributed(1_001, 5_432_100, 12_345, 678, 10_000),
)
EVERYTHING = {
    "all is known": FULL,
    "too few buyers": replace(FULL, effects=(("revenue", FEW), ("orders", replace(FEW, n_more=None)))),
    "no membership, no cost": replace(
        FULL, members=None, others=None, attributed=Attributed(21, 100, 0, 0, 0),
        participation=replace(FULL.participation, n_member_buyers=None),
    ),
    "the relative size is not known, the holdout is small, shapes differ": replace(
        FULL,
        effects=(
            (
                "revenue",
                replace(
                    WIN,
                    relative=None,
                    relative_note=said("relative size not determined"),
                    shape_differs=True,
                    holdout=Arm(500, 42, 900.0),
                ),
            ),
        ),
    ),
    "nobody to compare with": replace(
        FULL,
        effects=(),
        checks=replace(FULL.checks, blocked=measured_block(1, 0)),
    ),
    "an uneven split": replace(FULL, effects=(), checks=replace(FULL.checks, blocked=measured_block(900, 300))),
}  # fmt: skip


@pytest.mark.parametrize("case", EVERYTHING)
def test_measure_speaks_russian_and_tells_the_same_figures(case: str) -> None:
    english, russian = (shown(render(EVERYTHING[case], language), 300) for language in ("en", "ru"))

    assert figures(english) == figures(russian)
    assert set(english_words(russian)) == set()
    assert shown(render(EVERYTHING[case]), 300) == english


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("case", EVERYTHING)
def test_measure_fits_eighty_columns_in_every_language(case: str, language: str) -> None:
    text = shown(render(EVERYTHING[case], language), 80)

    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
