"""The demo tells what happened: its facts are checked against the files and the ledger it leaves."""

from __future__ import annotations

import json
import re
from io import StringIO
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from nextoffer.bundle.bundle import open_bundle
from nextoffer.config import Settings, load_settings
from nextoffer.demo import run_demo
from nextoffer.domain.offers import KINDS
from nextoffer.errors import ConfigError
from nextoffer.pipeline.selftest import verify_self_test
from nextoffer.tracking.holdout import groups
from nextoffer.tracking.ledger import open_ledger


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Settings]:
    folder = tmp_path_factory.mktemp("town") / "demo"
    out = StringIO()
    run_demo(400, 7, folder, Console(file=out, width=80, highlight=False))
    return out.getvalue(), folder, load_settings(folder / "nextoffer.toml", {})


def test_every_step_has_its_heading_and_its_command(told: tuple[str, Path, Settings]) -> None:
    text, _, _ = told
    assert re.findall(r"^(\d+)  ", text, re.MULTILINE) == [str(n) for n in range(1, 12)]
    commands = re.findall(r"^\$ nextoffer (\w+)", text, re.MULTILINE)
    assert commands == [
        *("check", "train", "backtest", "recommend", "recommend", "export", "serve", "record", "measure")
    ]
    assert all(len(line) <= 80 for line in text.splitlines() if not line.startswith("$"))


def test_each_of_the_eight_kinds_has_customers_and_says_why_in_both_languages(
    told: tuple[str, Path, Settings],
) -> None:
    text, _, _ = told
    part = text[text.index("Eight kinds") : text.index("All compete")]
    for kind, after in pairwise([*KINDS, None]):
        said = part[part.index(f" {kind} ") : part.index(f" {after} ") if after else len(part)]
        assert re.search(r"[1-9]\d* customers", said), kind
        assert re.search(r"[a-z]{3}", said.partition("customers")[2]), kind
        assert re.search(r"[а-я]{3}", said), kind


def test_the_three_customers_are_treated_and_their_offers_have_reasons(
    told: tuple[str, Path, Settings],
) -> None:
    text, _, settings = told
    part = text[text.index("Three customers") : text.index("Write a campaign")]
    ids = re.findall(r"\((C\d+)\)", part)
    assert len(set(ids)) == len(ids) == 3
    assert not groups(settings.experiment, ids).any()
    assert part.count(" EUR") >= 3


def test_the_slate_over_http_is_json_in_the_ledger(told: tuple[str, Path, Settings]) -> None:
    text, _, settings = told
    body = text[text.index("GET /v1") : text.index("POST /v1")]
    joined = " ".join(line.strip() for line in body[body.index("{") :].splitlines())
    slate = json.loads(joined)
    ledger = open_ledger(settings.store)
    decision = ledger.decision(slate["attribution_token"])
    events = ledger.events().to_pylist()
    ledger.close()
    assert decision is not None and decision.unit_id == slate["customer_id"]
    assert slate["offers"][0]["offer_id"] == decision.slate[0]["offer_id"]
    assert sum(event["decision_id"] == decision.decision_id for event in events) == 2


def test_planted_stands_beside_measured_with_its_interval(told: tuple[str, Path, Settings]) -> None:
    text, _, _ = told
    line = " ".join(text[text.index("Revenue: planted") :].split())
    number = r"([+-][\d.]+)"
    found = re.match(
        rf"Revenue: planted {number} EUR, measured {number} \[{number}, {number}\]: (.*?)\.", line
    )
    assert found is not None
    planted, _, low, high = (float(text) for text in found.groups()[:4])
    assert ("holds the truth" in found[5]) == (low <= planted <= high)
    assert planted > 0
    assert "ROI attributed" in text


def test_the_demo_leaves_a_working_shop(told: tuple[str, Path, Settings]) -> None:
    _, folder, settings = told
    bundle = open_bundle(settings.models_dir, self_test=verify_self_test)
    people = pq.read_table(folder / "shop" / "customers.parquet")
    assert 0 < len(bundle.customer_ids.ids) <= people.num_rows
    assert len(list((folder / "campaigns").glob("monday-mail-????-??-??.csv"))) == 8
    ledger = open_ledger(settings.store)
    decisions = ledger.decisions().to_pylist()
    mailed = {row["unit_id"] for row in decisions if row["campaign"] and row["group"] == "holdout"}
    happened = {row["unit_id"] for row in ledger.events().to_pylist()}
    n_events = len(ledger.events())
    ledger.close()
    files = list((folder / "campaigns").glob("*-events.csv"))
    assert n_events == 2 + sum(len(path.read_text().splitlines()) - 1 for path in files)
    assert mailed and not mailed & happened


def test_a_folder_of_somebody_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(ConfigError, match="--dir"):
        run_demo(200, 7, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_made_again_the_demo_replaces_its_own_files_only(tmp_path: Path) -> None:
    from nextoffer.demo.town import make_town

    make_town(200, 7, tmp_path / "demo")
    (tmp_path / "demo" / "notes.txt").write_text("mine")
    (tmp_path / "demo" / "shop" / "orders-2026-07-06.csv").write_text("stale")
    make_town(200, 7, tmp_path / "demo")
    assert (tmp_path / "demo" / "notes.txt").read_text() == "mine"
    assert not (tmp_path / "demo" / "shop" / "orders-2026-07-06.csv").exists()
