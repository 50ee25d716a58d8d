"""`check` and `measure` in Russian tell the same figures as in English, and no English word is left."""

from __future__ import annotations

import io
import re
from html import unescape
from typing import Any

import pytest
from rich.console import Console, RenderableType
from tests.measurement.documents import DOCUMENTS, sheets

from nextoffer.config import parse_settings
from nextoffer.domain.history import History
from nextoffer.measurement.page import page
from nextoffer.measurement.render import rendered
from nextoffer.sources.load import load_history
from nextoffer.sources.report import check_report

# Names of nextoffer's own keys and tables, formats, and what stands in the shop's data stay as they are.
KEPT = (
    r"nextoffer \S+|\[[a-z.]+\]|[\w.-]*[_./-][\w./-]*|--as-of|orders|products|customers|GBP|GB-\w+|ROI|id|p\b|nextoffer"
    r"|email|quantity|path|columns|always|[{}]|D\d|[A-Z]\d|DOT|script|alert|Co\b"
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


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("case", DOCUMENTS)
def test_measure_speaks_russian_and_tells_the_same_figures(case: str, full: bool) -> None:
    english, russian = (
        shown(rendered(DOCUMENTS[case], sheets(), language, full), 300) for language in ("en", "ru")
    )

    assert figures(english) == figures(russian)
    assert set(english_words(russian)) == set()


@pytest.mark.parametrize("case", DOCUMENTS)
def test_the_page_speaks_russian_and_tells_the_same_figures(case: str) -> None:
    english, russian = (written(page(DOCUMENTS[case], sheets(), language)) for language in ("en", "ru"))

    assert figures(english) == figures(russian)
    assert set(english_words(russian)) == set()


def written(html: str) -> str:
    """What a page says to those who read it, and to those who hear its pictures."""
    alternatives = re.findall('aria-label="([^"]*)"', html)
    body = re.sub(r"<style>.*?</style>|<svg.*?</svg>", " ", html, flags=re.DOTALL)
    return unescape(" ".join([re.sub(r"<[^>]*>", " ", body), *alternatives]))
