"""Every example of the documentation is run or validated, on the sample shop, with the real command line."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from nextoffer.api import answers
from nextoffer.api.app import create_app, utc_now
from nextoffer.api.opened import shop_opener
from nextoffer.api.service import BundleService
from nextoffer.bundle.bundle import open_bundle
from nextoffer.cli import app
from nextoffer.config import load_settings, parse_settings, read_secrets
from nextoffer.domain.offers import KINDS
from nextoffer.offers.batch import KindSettings, make_batch
from nextoffer.pipeline.selftest import verify_self_test
from nextoffer.plugins import CHANNELS_GROUP, KINDS_GROUP, SOURCES_GROUP
from nextoffer.tracking.ledger import open_ledger

with warnings.catch_warnings():
    # Starlette would like another HTTP client than the one we have.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

ROOT = Path(__file__).parents[2]
PAGES = [
    *("README.md", "README.ru.md", "CONTRIBUTING.md", "data/README.md", "models/README.md"),
    *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")),
]
TODAY = "2025-02-24"
FORMS = {  # language -> first words of the info string that this module knows how to run
    "bash": {"shop", "serve", "api"},
    "sh": {"make", "pip"},
    "python": {"shop", "token", "kind", "source", "checks"},
    "json": {"SlateModel", "EventsModel", "ProblemModel"},
    "toml": {"", "entry-points"},
    "js": {""},
    "cron": {""},
    "text": {""},
}
SHIM = """#!{python}
import os, sys
from datetime import datetime
from nextoffer import cli
cli._now = lambda: datetime.fromisoformat(os.environ["EXAMPLE_DAY"] + "T06:00:00+00:00")
sys.argv[0] = "nextoffer"
cli.main()
"""


@dataclass(frozen=True)
class Block:
    """One fenced block: where it stands, and how it says it is to be run."""

    page: str
    line: int
    language: str
    info: tuple[str, ...]
    text: str

    @property
    def form(self) -> str:
        return self.info[0] if self.info else ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: str) -> list[Block]:
    """The fenced code blocks of a page, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = []
    for match in re.finditer(r"^```(\S+)?([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        line = text[: match.start()].count("\n") + 1
        found.append(Block(page, line, match[1] or "", tuple(match[2].split()), match[3]))
    return found


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def chosen(language: str, form: str | None = None, pages: list[str] | None = None) -> list[Block]:
    return [
        block
        for block in BLOCKS
        if block.language == language
        and form in (None, block.form)
        and (pages is None or block.page in pages)
    ]


@dataclass(frozen=True)
class Ran:
    """What one shell block did."""

    block: Block
    code: int
    out: str
    err: str


@dataclass
class Shell:
    """A shell at work in a folder, whose `nextoffer` is this checkout's, living on the day of the block."""

    cwd: Path
    bin: Path

    def run(self, block: Block) -> Ran:
        day = next((word.removeprefix("at=") for word in block.info if word.startswith("at=")), TODAY)
        env = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "HOME": str(self.bin),
            "EXAMPLE_DAY": day,
            "LANG": "C.UTF-8",
        }
        script = f"set -euo pipefail\n{block.text}\npwd > {self.bin}/cwd\n"
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.cwd, env=env, capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            self.cwd = Path((self.bin / "cwd").read_text().strip())
        return Ran(block, done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shell, list[Ran]]:
    """The README's shell examples, one after the other: afterwards there is a trained shop.

    Walked once, also when several processes run the tests: the first walks, the others wait and look.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "reader"
    with (shared / "reader.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            walk(folder)
    ran, cwd = json.loads((folder / "walked.json").read_text())
    blocks = chosen("bash", "shop", ["README.md"])
    steps = [Ran(block, *done) for block, done in zip(blocks, ran, strict=True)]
    return Shell(Path(cwd), folder / "bin"), steps


def walk(folder: Path) -> None:
    shutil.copytree(ROOT / "data" / "sample", folder / "data" / "sample")
    (folder / "bin").mkdir()
    shim = folder / "bin" / "nextoffer"
    shim.write_text(SHIM.format(python=sys.executable))
    shim.chmod(0o755)
    shell = Shell(folder, folder / "bin")
    ran = [shell.run(block) for block in chosen("bash", "shop", ["README.md"])]
    steps = [(step.code, step.out, step.err) for step in ran]
    (folder / "walked.json").write_text(json.dumps((steps, str(shell.cwd))))


@pytest.fixture
def shop(walked: tuple[Shell, list[Ran]], tmp_path: Path) -> Shell:
    """A copy of the shop the README leaves behind."""
    shell, _ = walked
    shutil.copytree(shell.cwd, tmp_path / "myshop")
    shutil.copytree(shell.bin, tmp_path / "bin")
    return Shell(tmp_path / "myshop", tmp_path / "bin")


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_says_how_it_is_run(block: Block) -> None:
    assert block.form in FORMS.get(block.language, set()), f"{block}: how is this example run?"


def test_the_readme_can_be_followed_from_top_to_bottom(walked: tuple[Shell, list[Ran]]) -> None:
    _, ran = walked
    assert len(ran) >= 4
    for step in ran:
        assert step.code == 0, f"{step.block}\n{step.out}\n{step.err}"


def test_what_the_readme_promises_is_there_afterwards(walked: tuple[Shell, list[Ran]]) -> None:
    shell, ran = walked
    printed = "".join(step.out for step in ran)
    assert (
        (shell.cwd / "win-back.csv").read_text().startswith("email,first_name,locale,customer_id,decision_id")
    )
    assert "no_consent" in printed and "holdout" in printed
    assert "treated minus holdout" in printed


@pytest.mark.parametrize(
    "page", sorted({b.page for b in chosen("bash", "shop")} - {"README.md", "README.ru.md"})
)
def test_the_shell_examples_of_a_page_run(page: str, shop: Shell) -> None:
    for block in chosen("bash", "shop", [page]):
        step = shop.run(block)
        assert step.code == 0, f"{block}\n{step.out}\n{step.err}"


def test_both_readmes_have_the_same_examples() -> None:
    english, russian = (
        [
            (block.language, block.info, uncommented(block.text))
            for block in blocks_of(page)
            if block.language != "text"
        ]
        for page in ("README.md", "README.ru.md")
    )
    assert english == russian


def test_the_slates_of_the_readmes_are_of_the_sample_shop() -> None:
    products = (ROOT / "data/sample/products.csv").read_text(encoding="utf-8")
    customers = (ROOT / "data/sample/customers.csv").read_text(encoding="utf-8")
    for page in ("README.md", "README.ru.md"):
        slate = next(block.text for block in blocks_of(page) if "nextoffer recommend" in block.text)
        found = re.findall(rf"({'|'.join(KINDS)})\s+(P\d+)", slate)
        customer = re.search(r"nextoffer recommend (\S+)", slate)
        assert len(found) >= 3
        assert all(f"\n{product}," in products for _, product in found)
        assert customer is not None and f"\n{customer[1]}," in customers


@pytest.mark.parametrize("block", chosen("sh"), ids=str)
def test_install_examples_name_what_exists(block: Block) -> None:
    targets = set(re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for line in uncommented(block.text).splitlines():
        words = shlex.split(line)
        if words[0] == "make":
            assert words[1] in targets
        elif words[0] == "pip":
            named = re.fullmatch(r"\.(?:\[(\w+)\])?", words[2])
            assert named is not None and (named[1] is None or named[1] in extras)
        elif words[0] == "nextoffer":
            parse(words[1:])
        else:
            assert words[0] == ".venv/bin/python" and (ROOT / words[1]).is_file()


@pytest.mark.parametrize("block", chosen("cron"), ids=str)
def test_cron_lines_are_cron_lines_and_their_commands_exist(block: Block) -> None:
    for line in block.text.splitlines():
        moment, command = re.match(r"((?:[\d*/,-]+\s+){5})(.*)", line).groups()  # type: ignore[union-attr]
        assert len(moment.split()) == 5
        called = re.search(r"bin/nextoffer ([^>&|]*?)\s*(?:2?>|$)", command)
        assert called is not None
        parse(shlex.split(called[1]))


@pytest.mark.parametrize("block", chosen("bash", "serve"), ids=str)
def test_serve_examples_have_keys_that_are_accepted(block: Block) -> None:
    command = block.text.strip().splitlines()[-1]
    parse(shlex.split(command)[1:])
    assert read_secrets(exported(block)).server_keys


@pytest.mark.parametrize("page", sorted({block.page for block in chosen("bash", "api")}))
def test_calls_of_a_page_are_answered(page: str, shop: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(shop, monkeypatch) as (call, environment):
        for block in chosen("bash", "api", [page]):
            method, url, headers, body = curl(block.text, environment)
            answer = call(method, url, headers, body)
            assert answer.status_code == 200, f"{block}: {answer.text}"
            MODELS[model_of(url)].model_validate(answer.json())


@pytest.mark.parametrize("block", chosen("js"), ids=str)
def test_fetch_examples_are_answered(block: Block, shop: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    url = re.search(r'fetch\("([^"]+)"', block.text)
    headers = re.search(r"headers: ({[^}]*})", block.text)
    body = re.search(r"JSON\.stringify\((.*)\)", block.text)
    assert url is not None and headers is not None and body is not None
    with serving(shop, monkeypatch) as (call, _):
        answer = call("POST", url[1], literal(headers[1]), json.dumps(literal(body[1])))
    assert answer.status_code == 200, answer.text
    used = re.search(r"const {(.*)} = await answer\.json", block.text)
    assert used is not None
    assert {name.strip() for name in used[1].split(",")} <= answer.json().keys()
    assert answer.json()["fallback"] == "context" and answer.json()["offers"]


@pytest.mark.parametrize("block", chosen("python", "shop", ["README.md"]), ids=str)
def test_notebook_examples_run(block: Block, shop: Shell) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", block.text],
        cwd=shop.cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", chosen("python", "kind"), ids=str)
def test_the_offer_kind_of_the_page_proposes_offers(block: Block, shop: Shell) -> None:
    settings = load_settings(shop.cwd / "nextoffer.toml", {})
    bundle = open_bundle(settings.models_dir, signing_key=None, self_test=verify_self_test)
    names: dict[str, Any] = {}
    exec(compile(block.text, str(block), "exec"), names)
    assert (
        len(names["candidates"](make_batch(bundle, np.arange(20)), bundle, KindSettings(bundle.as_of.date())))
        > 20
    )


def test_the_plug_ins_of_the_page_pass_the_checks_of_the_page() -> None:
    names: dict[str, Any] = {}
    for form in ("kind", "source", "checks"):
        (block,) = chosen("python", form)
        exec(compile(block.text, str(block), "exec", dont_inherit=True), names)

    names["test_mine"]()


def test_the_entry_points_of_the_page_are_of_groups_that_are_looked_for() -> None:
    (block,) = chosen("toml", "entry-points")
    groups = tomllib.loads(block.text)["project"]["entry-points"]
    assert set(groups) == {KINDS_GROUP, SOURCES_GROUP, CHANNELS_GROUP}


@pytest.mark.parametrize("block", chosen("json"), ids=str)
def test_json_examples_are_what_the_api_promises(block: Block) -> None:
    getattr(answers, block.form).model_validate_json(block.text)


@pytest.mark.parametrize("block", chosen("toml", ""), ids=str)
def test_settings_examples_are_valid(block: Block) -> None:
    document = {"currency": "EUR", "history": {"orders": {"path": "orders.csv"}}} | tomllib.loads(block.text)
    parse_settings(document, str(block), ROOT)


# -- what the examples are run with

MODELS = {
    "slate": answers.SlateModel,
    "related": answers.RelatedModel,
    "events": answers.EventsModel,
}


def model_of(url: str) -> str:
    return "events" if url.endswith("/events") else "related" if "/related" in url else "slate"


@contextmanager
def serving(shop: Shell, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, dict[str, str]]]:
    """The application of the shop, with the keys of the page, and the variables its examples use."""
    environment = exported(chosen("bash", "serve", ["docs/storefront-developer.md"])[0])
    settings = load_settings(shop.cwd / "nextoffer.toml", {})
    # The README trained before there was a key: its bundle is not signed, so it is opened without one.
    opener = shop_opener(settings, None, verify_self_test)
    service = BundleService(opener, settings.models_dir / "CURRENT")
    ledger = open_ledger(settings.store)
    served = create_app(service, ledger, settings, read_secrets(environment), utc_now)
    with TestClient(served) as client:

        def call(method: str, url: str, headers: Mapping[str, str], body: str | None) -> Any:
            path = url.removeprefix("http://127.0.0.1:8000")
            assert path.startswith("/")
            return client.request(method, path, headers=dict(headers), content=body)

        yield call, environment | {"TOKEN": token(environment, monkeypatch)}


def token(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What the page's own function signs."""
    (block,) = chosen("python", "token")
    names: dict[str, Any] = {}
    monkeypatch.setenv("NEXTOFFER_SIGNING_KEY", environment["NEXTOFFER_SIGNING_KEY"])
    exec(compile(block.text, str(block), "exec"), names)
    signed: str = names["customer_token"]("C000004")
    return signed


def curl(text: str, environment: Mapping[str, str]) -> tuple[str, str, dict[str, str], str | None]:
    """(method, url, headers, body) of a curl call, variables filled in."""
    text = re.sub(r"\$(\w+)", lambda match: environment[match[1]], text)
    words = shlex.split(text.replace("\\\n", " "))
    assert words[0] == "curl"
    method, url, headers, body = "GET", "", {}, None
    rest = iter(words[1:])
    for word in rest:
        if word == "-H":
            name, _, value = next(rest).partition(": ")
            headers[name] = value
        elif word == "-X":
            method = next(rest)
        elif word == "-d":
            body = next(rest)
        elif word != "-s":
            url = word
    return method, url, headers, body


def literal(text: str) -> Any:
    """A JavaScript object literal as JSON."""
    return json.loads(re.sub(r"([{,]\s*)(\w+):", r'\1"\2":', text))


def exported(block: Block) -> dict[str, str]:
    return dict(re.findall(r"^export (\w+)=(\S+)$", block.text, re.MULTILINE))


def uncommented(text: str) -> str:
    """Without comments: they may be in another language."""
    return "\n".join(re.sub(r"\s+#.*$", "", line) for line in text.strip().splitlines())


def parse(words: list[str]) -> None:
    """Refuse a command or option that does not exist."""
    if words == ["--help"]:
        return
    group: Any = typer.main.get_command(app)
    command = group.commands[words[0]]
    command.make_context(words[0], list(words[1:]))
