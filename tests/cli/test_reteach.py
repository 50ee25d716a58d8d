"""`train` goes on for a week with what it was taught, and says when that was."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import END

from nextoffer.pipeline import nightly
from nextoffer.pipeline.gate import Verdict


@pytest.fixture(autouse=True)
def no_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is taught is the matter here, not how well: the shop is too small to teach much."""
    monkeypatch.setattr(nightly, "gate", lambda quality, *others: Verdict(quality | {"judged": True}))


def night(nextoffer: Any, folder: Path, days: int, *options: str) -> dict[str, Any]:
    """The report of the night `days` after the first."""
    day = (datetime.fromisoformat(END) + timedelta(days=days)).date().isoformat()
    said = nextoffer(folder, "train", "--as-of", day, "--json", *options)
    assert said.code == 0, said.err
    report: dict[str, Any] = json.loads(said.out)
    return report


@pytest.mark.parametrize(
    ("days", "options", "taught_on"),
    [
        (1, (), 0),
        (6, (), 0),
        (7, (), 7),
        (1, ("--reteach",), 1),
        (9, ("--no-reteach",), 0),
    ],
)
def test_what_ranks_is_taught_once_a_week_or_when_asked(
    days: int, options: tuple[str, ...], taught_on: int, trained: Path, nextoffer: Any
) -> None:
    quality = night(nextoffer, trained, days, *options)["quality"]

    at = datetime.fromisoformat(quality["taught_at"]).date()
    assert at == (datetime.fromisoformat(END) + timedelta(days=taught_on)).date()
    assert quality["saw_the_answers"] == (taught_on == 0)
    assert quality["judged"] is True and quality["ranker_reason"]
    assert [chance["days"] for chance in quality["lapse"]] == sorted({28, 90, 180})
    assert set(quality["segments"]) == {"clusters", "published", "quintiles"}


def test_other_settings_are_taught_at_once(trained: Path, nextoffer: Any) -> None:
    config = trained / "nextoffer.toml"
    config.write_text("seed = 5\n" + config.read_text(encoding="utf-8"), encoding="utf-8")

    assert night(nextoffer, trained, 1)["quality"]["saw_the_answers"] is False


def test_a_night_gives_the_same_bundle_however_often_it_is_run(trained: Path, nextoffer: Any) -> None:
    """A segment nearest for two runs of one night has not been nearest for two nights."""
    first = night(nextoffer, trained, 1)["bundle_id"]

    assert night(nextoffer, trained, 1)["bundle_id"] == first
