"""Lines of the quality table: how they are judged, drawn and written."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from benchmarks.quality import __main__ as quality
from benchmarks.quality.lines import Line, against, best_peer, ratio_interval
from benchmarks.quality.table import cells, figure, summary, table, write_json
from rich.console import Console

OURS = np.array([1.0, 0.5, 0.0, 0.5])
PEERS = {"weak": OURS / 4, "strong": OURS / 2}


def drawn(lines: list[Line]) -> str:
    """The table as plain text."""
    console = Console(file=StringIO(), width=quality.WIDTH)
    console.print(table(lines))
    return console.file.getvalue()


def test_a_gate_is_met_by_a_ratio_that_is_exactly_it() -> None:
    for least, passed in ((2.0, True), (2.0001, False)):
        weak, strong = against("t", "s", "m", OURS, PEERS, gates={"strong": least})
        assert (strong.ratio, strong.gate, strong.passed) == (2.0, least, passed)
        assert (weak.ratio, weak.gate, weak.passed) == (4.0, None, None)


def test_best_of_holds_against_the_best_peer_only() -> None:
    weak, strong = against("t", "s", "m", OURS, PEERS, best_of=3.0)
    assert (weak.passed, strong.passed) == (None, False)
    assert best_peer(PEERS) == "strong"
    assert best_peer(PEERS, ("weak",)) == "weak"


def test_a_gate_that_names_no_peer_is_refused() -> None:
    with pytest.raises(ValueError, match="name no peer"):
        against("t", "s", "m", OURS, PEERS, gates={"stong": 1.0})


def test_the_interval_of_a_constant_ratio_is_that_ratio() -> None:
    assert ratio_interval(OURS + 1, (OURS + 1) / 2) == pytest.approx((2.0, 2.0))


@pytest.mark.parametrize(
    ("metric", "target", "reached"),
    [
        ("recall@10", 0.4, True),
        ("recall@10", 0.6, False),
        ("Brier (lower is better)", 0.6, True),
        ("labels changed (at most 2%)", 0.4, False),
        ("calibration error", 0.6, True),
        ("recall@10", None, None),
    ],
)
def test_a_target_is_reached_from_the_side_the_metric_names(
    metric: str, target: float | None, reached: bool | None
) -> None:
    assert Line("t", "s", metric, 0.5, target=target).reached is reached


def test_the_table_says_a_name_once_and_every_verdict() -> None:
    lines = against(
        "next", "tafeng", "recall@10", OURS, PEERS, target=0.4, gates={"weak": 3.0, "strong": 3.0}
    )
    lines.append(
        Line("cost", "tafeng", "CPU seconds (lower is better)", 30.0, "ALS", 3.0, gate=12.0, passed=True)
    )
    text = drawn(lines)
    assert [text.count(word) for word in ("next", "recall@10", "pass", "MISS", "0.400 ✓")] == [1, 1, 2, 1, 1]
    assert text.count("tafeng") == 2  # a split is said again where the task changes
    for words in ("4.000 [4.000, 4.000]", "≥ 3.000", "≤ 12.000", "10.000", "30.0"):
        assert words in text
    assert "inf" not in text
    assert "nan" not in text


def test_a_line_without_peer_or_bars_has_empty_cells() -> None:
    assert [str(cell) for cell in cells(Line("t", "s", "m", 0.123456))] == ["t", "s", "m", "0.123", *[""] * 6]


def test_figures_keep_what_can_be_told_apart() -> None:
    assert [figure(value) for value in (None, 0.0, 0.0042, 0.18649, 9.5, 1234.56)] == [
        "",
        "0.000",
        "0.0042",
        "0.186",
        "9.500",
        "1,234.6",
    ]


def test_the_summary_counts_gates_by_line_and_targets_by_metric() -> None:
    lines = against("t", "s", "m", OURS, PEERS, target=0.4, gates={"weak": 3.0, "strong": 3.0})
    texts = summary(lines, {"lapse": "not there: x"}, {"cost": "KeyError: y"})
    assert texts == [
        "1 of 2 gates passed, 1 of 1 targets reached",
        "missed: t, s, m: 0.500, 2.000 [2.000, 2.000] × strong, gate ≥ 3.000",
        "skipped: lapse, not there: x",
        "failed: cost, KeyError: y",
    ]


def test_json_holds_every_line_and_only_finite_numbers(tmp_path: Path) -> None:
    lines = against("t", "s", "m", OURS, {"nothing": np.zeros(4), "weak": OURS / 4}, gates={"nothing": 1.0})
    write_json(tmp_path / "quality.json", lines, {"commit": "abc"})
    document = json.loads((tmp_path / "quality.json").read_text())
    assert document["commit"] == "abc"
    assert [line["peer"] for line in document["lines"]] == ["nothing", "weak"]
    assert [line["ratio"] for line in document["lines"]] == [None, 4.0]
    assert document["lines"][0]["high"] is None
    assert document["lines"][0]["passed"] is True


def test_a_section_without_its_data_is_skipped_and_one_that_breaks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(data: Path) -> list[Line]:
        raise KeyError("x")

    parts = {"fine": lambda data: [Line("t", "s", "m", 1.0)], "broken": broken}
    modules = {f"benchmarks.quality.{name}": SimpleNamespace(lines=part) for name, part in parts.items()}
    monkeypatch.setattr(quality, "import_module", modules.__getitem__)
    monkeypatch.setattr(quality, "SECTIONS", {"absent": ("no/such.parquet",), "broken": (), "fine": ()})
    lines, skipped, failed, seconds = quality.run(tmp_path, ["absent", "broken", "fine"])
    assert [line.ours for line in lines] == [1.0]
    assert skipped == {"absent": "not there: no/such.parquet"}
    assert failed == {"broken": "KeyError: 'x'"}
    assert set(seconds) == {"broken", "fine"}


def test_what_cannot_be_run_is_refused_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, words in (
        ([str(tmp_path / "none")], "is no folder"),
        ([str(tmp_path), "nxet_basket"], "no section nxet_basket"),
    ):
        with pytest.raises(SystemExit):
            quality.main(arguments)
        assert words in capsys.readouterr().err


def test_every_section_is_a_module_with_lines() -> None:
    folder = Path(quality.__file__).parent
    for name in quality.SECTIONS:
        assert "\ndef lines(data: Path) -> list[Line]:" in (folder / f"{name}.py").read_text()
