"""What exists is documented: every command, setting, plug point and problem; and what is documented exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_origin

import pytest
import typer

from nextoffer.api.problems import PREFIX, PROBLEMS
from nextoffer.channels.email import FORMATS
from nextoffer.cli import app
from nextoffer.config import Section, Settings, Source
from nextoffer.domain.tables import SEGMENTS
from nextoffer.features.build import SQL_FILES
from nextoffer.offers.eligibility import RULES
from nextoffer.plugins import OFFER_KINDS

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in ROOT.glob("**/*.md")
    if not any(
        part.startswith(".") or part in ("tests", "nextoffer-demo") for part in path.relative_to(ROOT).parts
    )
)
COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def settings_of(section: type[Section], prefix: str = "") -> Iterator[str]:
    """Every key of the configuration, as `campaigns.NAME.kinds`; the keys of a source as their bare names."""
    for name, field in section.model_fields.items():
        inner = next(
            (
                part
                for part in (field.annotation, *get_args(field.annotation))
                if isinstance(part, type) and issubclass(part, Section)
            ),
            None,
        )
        if inner is Source:
            yield prefix + name
        elif inner is None:
            yield prefix + name
        else:
            free = {"prior": "KIND."}.get(name, "NAME.") if get_origin(field.annotation) is dict else ""
            yield from settings_of(inner, f"{prefix}{name}.{free}")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_is_in_the_operators_page(command: str) -> None:
    assert f"| `{command}` |" in text_of("docs/operator.md")
    assert (typer.main.get_command(app).commands[command].help or "").strip()  # type: ignore[attr-defined]


@pytest.mark.parametrize("setting", [*settings_of(Settings), *Source.model_fields])
def test_every_setting_is_in_the_operators_page(setting: str) -> None:
    assert f"`{setting}`" in text_of("docs/operator.md")


def test_no_setting_of_the_operators_page_is_made_up() -> None:
    table = text_of("docs/operator.md").partition("| key | default | meaning |")[2].partition("\n\n")[0]
    named = {name for row in table.splitlines()[2:] for name in re.findall(r"`([\w.]+)`", row.split("|")[1])}
    assert named <= {*settings_of(Settings), *Source.model_fields}


@pytest.mark.parametrize(
    "variable", ["NEXTOFFER_SERVER_KEYS", "NEXTOFFER_CLIENT_KEYS", "NEXTOFFER_SIGNING_KEY"]
)
def test_every_secret_is_in_the_operators_page(variable: str) -> None:
    assert f"`{variable}`" in text_of("docs/operator.md")


@pytest.mark.parametrize("slug", PROBLEMS)
def test_every_problem_is_in_the_storefront_developers_page(slug: str) -> None:
    status, _ = PROBLEMS[slug]
    assert f"| `{PREFIX}{slug}` | {status} |" in text_of("docs/storefront-developer.md")


def test_no_problem_of_the_page_is_made_up() -> None:
    named = set(re.findall(rf"{PREFIX}([\w-]+)", text_of("docs/storefront-developer.md")))
    assert named == set(PROBLEMS)


@pytest.mark.parametrize("name", [*OFFER_KINDS, *FORMATS, *(name for name, _ in RULES)])
def test_every_plug_in_is_in_the_contributors_page(name: str) -> None:
    assert f"`{name}`" in text_of("docs/contributor.md")


def test_every_plug_point_of_the_contributors_page_is_where_it_says() -> None:
    table = text_of("docs/contributor.md").partition("## Where one adds things")[2].partition("\n\nA kind")[0]
    for module in re.findall(r"`([\w/]+\.(?:py|sql))`", table):
        assert (ROOT / "src/nextoffer" / module).is_file(), module
    for module, name in re.findall(r"`((?:\w+\.)*\w+)\.([A-Z_]+)`", table):
        path = ROOT / "src/nextoffer" / f"{module.replace('.', '/')}.py"
        assert re.search(rf"^{name}\b", path.read_text(encoding="utf-8"), re.MULTILINE), f"{module}.{name}"
    assert SQL_FILES


def test_every_segment_and_kind_is_explained_to_the_retailer() -> None:
    page = text_of("docs/retailer.md")
    assert [name for name in (*SEGMENTS, *OFFER_KINDS) if f"| `{name}` |" not in page] == []


def test_the_russian_readme_has_the_headings_of_the_english_one() -> None:
    levels = [re.findall(r"^(#+) ", text_of(page), re.MULTILINE) for page in ("README.md", "README.ru.md")]
    assert levels[0] == levels[1]


def test_figures_of_both_readmes_are_filled_in_and_agree() -> None:
    for marker in ("slate", "uplift", "quality"):
        parts = [
            re.search(
                rf"<!-- {marker}: made by `[^`]+` -->\n(.+?)\n<!-- /{marker} -->", text_of(page), re.DOTALL
            )
            for page in ("README.md", "README.ru.md")
        ]
        assert all(parts), f"run the command named in the README beside <!-- {marker} -->"
        if marker != "slate":
            english, russian = (sorted(re.findall(r"\d\.\d+", part[1])) for part in parts if part)
            assert english == russian


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", prose):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), target


def test_decisions_are_numbered_and_fit_on_one_screen() -> None:
    pages = sorted((ROOT / "docs/decisions").glob("*.md"))
    assert [int(page.name[:3]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# {page.name[:3]} ")
        assert len(text.splitlines()) <= 45
        assert all(part in text for part in ("**Context.**", "**Choice", "**Price paid.**"))


def test_contributing_is_numbered_and_names_targets_that_exist() -> None:
    text = text_of("CONTRIBUTING.md")
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", text, re.MULTILINE)]
    targets = set(re.findall(r"^(\w[\w-]*):", text_of("Makefile"), re.MULTILINE))
    named = set(re.findall(r"`make ([\w-]+)`", text))
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= 5
    assert {"install", "check", "test"} <= named <= targets


def test_the_changelog_has_a_place_for_what_comes() -> None:
    assert re.search(r"^## \[Unreleased\]$", text_of("CHANGELOG.md"), re.MULTILINE)
