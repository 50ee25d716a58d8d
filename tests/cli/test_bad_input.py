"""Bad input through the real command: one clear message with what, where, value and what to do; no traceback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

END = "2026-11-01"
TRAIN = ("train", "--as-of", END)


def nothing(folder: Path) -> None:
    pass


def replaced(name: str, old: str, new: str, count: int = -1) -> Callable[[Path], None]:
    """Spoil one file of the shop."""

    def spoil(folder: Path) -> None:
        path = folder / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, count), encoding="utf-8")

    return spoil


def removed(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def written(name: str, text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_text(text, encoding="utf-8")

    return write


def no_unit_price(folder: Path) -> None:
    replaced("nextoffer.toml", 'unit_price = "unit_price"\n', "")(folder)
    replaced("orders.csv", "unit_price", "worth")(folder)


def prices_gone_wild(folder: Path) -> None:
    lines = (folder / "orders.csv").read_text().splitlines()
    for at in range(1, len(lines), 10):
        cells = lines[at].split(",")
        cells[4] = "999999999999999999999"
        lines[at] = ",".join(cells)
    (folder / "orders.csv").write_text("\n".join(lines) + "\n")


@dataclass(frozen=True)
class Case:
    """How the shop is spoilt, what is run, and what the one message must hold."""

    name: str
    spoil: Callable[[Path], None]
    words: tuple[str, ...]
    says: tuple[str, ...]
    code: int = 2


BEFORE_TRAINING = [
    Case(
        "no configuration",
        removed("nextoffer.toml"),
        TRAIN,
        ("nextoffer.toml", "no such file", "nextoffer init"),
    ),
    Case(
        "not TOML",
        written("nextoffer.toml", "currency = EUR"),
        TRAIN,
        ("nextoffer.toml", "not valid TOML", "line 1"),
    ),
    Case(
        "two unknown keys and a wrong value, all in one run",
        replaced("nextoffer.toml", 'currency = "EUR"', 'curency = "EUR"\nhorizont_days = 28\nseed = -1'),
        TRAIN,
        (
            "4 faults",
            "curency: unknown key",
            "did you mean 'currency'",
            "'horizon_days'",
            "seed",
            "currency: required",
        ),
    ),
    Case("a missing file", removed("orders.csv"), TRAIN, ("orders.csv", "no file")),
    Case(
        "a column that is mapped but not there",
        replaced("nextoffer.toml", 'unit_price = "unit_price"', 'unit_price = "unit_prize"'),
        TRAIN,
        ("unit_price", "unit_prize", "did you mean", "history.orders"),
    ),
    Case("a column that is not mapped", no_unit_price, TRAIN, ("unit_price", "history.orders")),
    Case(
        "a column of another type", replaced("orders.csv", ".50,", ".fifty,"), TRAIN, ("unit_price", "fifty")
    ),
    Case(
        "a file without a row",
        written("orders.csv", "order_id,customer_id,product_id,quantity,unit_price,ordered_at\n"),
        TRAIN,
        ("orders", "no row"),
    ),
    Case("an empty file", written("orders.csv", ""), TRAIN, ("orders.csv", "empty")),
    Case(
        "absurd prices", prices_gone_wild, TRAIN, ("unit_price", "999999999999999999999", "max_reject_share")
    ),
    Case(
        "a date that is none",
        nothing,
        ("train", "--as-of", "2026-13-45"),
        ("'2026-13-45'", "not a date", "2026-11-22"),
    ),
    Case("as_of before the history", nothing, ("train", "--as-of", "2020-01-01"), ("2020-01-01", "2026-")),
    Case("a horizon of nothing", nothing, ("backtest", "--horizon", "0"), ("--horizon", "1")),
    Case(
        "backtest before the history", nothing, ("backtest", "--as-of", "2020-01-01"), ("2020-01-01", "2026-")
    ),
    Case("no bundle to look at", nothing, ("recommend", "c001"), ("nextoffer train",)),
    Case("no bundle to serve", nothing, ("serve", "--insecure"), ("nextoffer train",)),
    Case("serve without keys", nothing, ("serve",), ("NEXTOFFER_SERVER_KEYS", "--insecure")),
    Case(
        "insecure beyond this machine", nothing, ("serve", "--insecure", "--host", "0.0.0.0"), ("loopback",)
    ),
    Case(
        "orders that are not there for init",
        nothing,
        ("--config", "new.toml", "init", "--orders", "x.csv"),
        ("x.csv",),
    ),
    Case("a configuration that is there already", nothing, ("init",), ("nextoffer.toml", "--force")),
    Case("a command that is none", nothing, ("trian",), ("trian",)),
    Case("an option that is none", nothing, ("train", "--as-off", END), ("--as-off", "--as-of")),
    Case(
        "measure before anything was offered",
        nothing,
        ("measure", "--until", END),
        ("always-on", "nextoffer serve"),
    ),
]

AFTER_TRAINING = [
    Case("an unknown customer", nothing, ("recommend", "nobody"), ("'nobody'", "120 customers", "'c000'")),
    Case("no customer", nothing, ("recommend",), ("--all",)),
    Case("a kind that is none", nothing, ("recommend", "c001", "--kinds", "for_me"), ("'for_me'", "for_you")),
    Case("too many places", nothing, ("recommend", "c001", "-n", "5000"), ("-n",)),
    Case(
        "--all to a folder that is not there",
        nothing,
        ("recommend", "--all", "--out", "no/where.parquet"),
        ("no/where.parquet",),
    ),
    Case(
        "segments to a folder that is not there",
        nothing,
        ("segments", "--out", "no/where.csv"),
        ("no/where.csv",),
    ),
    Case(
        "an unknown campaign",
        nothing,
        ("export", "mondaymail", "--out", "x.csv"),
        ("'mondaymail'", "did you mean 'monday-mail'"),
    ),
    Case(
        "a campaign's date that is none",
        nothing,
        ("export", "monday-mail", "--out", "x.csv", "--date", "soon"),
        ("'soon'", "not a date"),
    ),
    Case(
        "an export to a folder that is not there",
        nothing,
        ("export", "monday-mail", "--out", "no/where.csv", "--date", END),
        ("no/where.csv",),
    ),
    Case("a record that is not there", nothing, ("record", "clicks.csv"), ("clicks.csv", "no file")),
    Case(
        "a record of something else",
        written("x.csv", "a,b\n1,2\n"),
        ("record", "x.csv"),
        ("x.csv", "event_type", "order_id"),
    ),
    Case(
        "a bundle that is none",
        nothing,
        ("bundles", "rollback", "2020-01-01T00-00Z-abcdef"),
        ("2020-01-01T00-00Z-abcdef",),
    ),
    Case("bundles do what", nothing, ("bundles", "burn"), ("rollback",)),
    Case(
        "a window that ends before it starts", nothing, ("measure", "--from", "yesterday"), ("'yesterday'",)
    ),
]


@pytest.mark.parametrize("case", BEFORE_TRAINING, ids=lambda case: case.name)
def test_before_training(case: Case, raw: Path, nextoffer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NEXTOFFER_SERVER_KEYS", "NEXTOFFER_CLIENT_KEYS"):
        monkeypatch.delenv(name, raising=False)
    case.spoil(raw)
    said = nextoffer(raw, *case.words)

    assert (said.code, said.out) == (case.code, ""), said.err
    assert not [word for word in case.says if word not in said.message], said.err
    assert said.err.count("nextoffer: ") + said.err.count("Usage: ") == 1
    assert not list((raw / "models").glob("20*"))


@pytest.mark.parametrize("case", AFTER_TRAINING, ids=lambda case: case.name)
def test_after_training(case: Case, trained: Path, nextoffer) -> None:
    case.spoil(trained)
    before = (trained / "models" / "CURRENT").read_text()
    said = nextoffer(trained, *case.words)

    assert (said.code, said.out) == (case.code, ""), said.err
    assert not [word for word in case.says if word not in said.message], said.err
    assert (trained / "models" / "CURRENT").read_text() == before


def test_records_that_are_partly_bad_are_counted_row_by_row(trained: Path, nextoffer) -> None:
    click = {"event_id": "1", "event_type": "click", "occurred_at": "2026-11-02T10:00:00Z"}
    good = json.dumps(click | {"customer_id": "c001", "offer_id": "x"})
    written("events.ndjson", f"{good}\nnot json\n{good.replace('click', 'clack')}\n")(trained)

    said = nextoffer(trained, "record", "events.ndjson")

    assert said.code == 0
    assert "3 rows read: 1 new, 0 known, 2 rejected" in said.out
    assert "row 2" in said.out and "row 3" in said.out and "clack" in said.out


def test_a_history_that_ended_long_ago_trains_with_the_date_that_fits(raw: Path, nextoffer) -> None:
    said = nextoffer(raw, "train", "--as-of", "2028-01-01", "--dry-run")

    assert said.code == 0
    assert "nextoffer train --as-of 2026-11-01" in said.message
    assert "the newest order is of 2026-10-3" in said.message


def test_a_shop_of_twenty_customers_trains_warns_and_has_offers(raw: Path, nextoffer) -> None:
    said = nextoffer(raw, *TRAIN)
    assert said.code == 0
    assert "too few" in said.message or "first bundle" in said.message

    slate = json.loads(nextoffer(raw, "recommend", "c001", "--json").out)
    assert slate["offers"]


def test_a_bundle_with_one_byte_flipped_is_refused_by_the_file_s_name(trained: Path, nextoffer) -> None:
    bundle = trained / "models" / (trained / "models" / "CURRENT").read_text().strip()
    for path in sorted(bundle.rglob("*")):
        if not path.is_file():
            continue
        good = path.read_bytes()
        bad = bytearray(good)
        bad[len(bad) // 2] ^= 1
        path.chmod(0o644)
        path.write_bytes(bytes(bad))
        said = nextoffer(trained, "recommend", "c001")
        assert said.code == 2, path.name
        assert path.name in said.err, said.err
        path.write_bytes(good)
    assert nextoffer(trained, "recommend", "c001").code == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a file system cannot be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("free_kb", [8, 60, 240])
def test_a_disk_that_is_full_leaves_last_night_in_service(
    trained: Path, small_disk: Path, nextoffer, free_kb: int
) -> None:
    """Full while reading, while learning, while publishing."""
    models = trained / "models"
    last_night = (models / "CURRENT").read_text().strip()
    shutil.copytree(models, small_disk / "models", ignore=shutil.ignore_patterns(".work"))
    replaced("nextoffer.toml", 'currency = "EUR"', f'currency = "EUR"\nmodels_dir = "{small_disk}/models"')(
        trained
    )
    free = shutil.disk_usage(small_disk).free
    (small_disk / "filler").write_bytes(b"x" * max(free - 1024 * free_kb, 0))

    said = nextoffer(trained, "train", "--as-of", "2026-10-31")

    assert (said.code, said.out) == (2, ""), said.err
    assert "full" in said.err or "No space" in said.err
    assert str(small_disk) in said.err
    (small_disk / "filler").unlink()
    assert json.loads(nextoffer(trained, "recommend", "c001", "--json").out)["bundle_id"] == last_night


def test_an_export_without_customers_says_why_nobody_is_written_to(trained: Path, nextoffer) -> None:
    said = nextoffer(trained, "export", "monday-mail", "--out", "mail.csv", "--date", END)

    assert said.code == 0
    assert "0 messages" in said.out
    assert "120  no_email" in said.out and "[history.customers]" in said.out
    assert len((trained / "mail.csv").read_text(encoding="utf-8-sig").splitlines()) == 1


def test_a_history_whose_customers_were_mixed_up_is_refused_and_last_night_serves(
    trained: Path, nextoffer
) -> None:
    """From one day on the shop's export gives every order to somebody else: what people like no longer holds."""
    header, *lines = (trained / "orders.csv").read_text().splitlines()
    last_night = (trained / "models" / "CURRENT").read_text().strip()
    mixed = []
    for line in lines:
        cells = line.split(",")
        if cells[5] >= "2026-10-04":
            cells[1] = f"c{(int(cells[1][1:]) * 37 + 11) % 120:03d}"
        mixed.append(",".join(cells))
    (trained / "orders.csv").write_text("\n".join([header, *mixed]) + "\n")

    said = nextoffer(trained, *TRAIN)

    assert (said.code, said.out) == (3, ""), said.err
    for word in ("refused", last_night, "stays in service", "popularity", "nextoffer check"):
        assert word in said.message
    assert json.loads(nextoffer(trained, "recommend", "c001", "--json").out)["bundle_id"] == last_night


def test_the_same_night_again_passes_the_gate_and_keeps_its_bundle(trained: Path, nextoffer) -> None:
    """What serves has seen the days it is judged on; held against one that has not, it would never be replaced."""
    last_night = (trained / "models" / "CURRENT").read_text().strip()

    said = nextoffer(trained, *TRAIN, "--json")

    assert said.code == 0, said.err
    report = json.loads(said.out)
    assert (report["bundle_id"], report["published"]) == (last_night, True)
    assert report["quality"]["judged"] is True
    assert report["quality"]["in_service"] == {last_night: report["quality"]["published"]}


COMMANDS = "init check train backtest recommend segments export serve record measure bundles demo".split()


@pytest.mark.parametrize(
    "words", [(), *((command,) for command in COMMANDS)], ids=lambda words: " ".join(words) or "-"
)
def test_every_command_explains_itself(words: tuple[str, ...], tmp_path: Path, nextoffer) -> None:
    said = nextoffer(tmp_path, *words, "--help")

    assert (said.code, said.err) == (0, "")
    assert "Usage: " in said.out
    assert len(said.out.splitlines()) > 5


@pytest.mark.parametrize(
    "words",
    [
        ("check",),
        ("recommend", "c001"),
        ("segments",),
        ("bundles",),
        ("export", "monday-mail", "--out", "mail.csv", "--date", END),
        ("record", "events.csv"),
        ("backtest", "--as-of", "2026-10-04"),
    ],
    ids=lambda words: words[0],
)
def test_json_is_one_document_and_nothing_else(words: tuple[str, ...], trained: Path, nextoffer) -> None:
    written(
        "events.csv",
        "event_id,event_type,occurred_at,customer_id,offer_id\n1,click,2026-11-02T10:00:00Z,c001,x\n",
    )(trained)
    said = nextoffer(trained, *words, "--json")

    assert said.code == 0, said.err
    json.loads(said.out)


def test_a_defect_of_ours_is_one_line_and_its_details_are_in_a_file(
    trained: Path, nextoffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("no such luck")

    monkeypatch.setattr("nextoffer.pipeline.open_shop", broken)
    said = nextoffer(trained, "recommend", "c001")

    assert said.code == 1
    assert "ZeroDivisionError: no such luck" in said.err
    details = Path(said.err.strip().rsplit("Details: ", 1)[1])
    assert "broken" in details.read_text()
    details.unlink()


def test_help_answers_at_once() -> None:
    """In a process of its own, with nothing heavy imported."""
    code = (
        "import sys; sys.argv = ['nextoffer', '--help']\n"
        "from nextoffer.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'pandas', 'duckdb', 'sklearn', 'fastapi', 'sqlalchemy', 'pyarrow'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
