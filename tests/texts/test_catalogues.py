"""Every text of the code is in every catalogue, in all its plural forms and with its facts; nothing else is."""

from __future__ import annotations

import string
from functools import cache
from importlib import resources
from pathlib import Path
from typing import get_args

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

import nextoffer
from nextoffer import texts
from nextoffer.bundle import bundle
from nextoffer.config.base import Language

# Which arguments of which functions are texts, as Babel's extractor wants it.
KEYWORDS = {"text": (1,), "texts": (1, 2), "say": (2,), "say_many": (2, 3), "said": (1,), "said_many": (1, 2)}
OTHERS = texts.LANGUAGES[1:]


@cache
def sources() -> frozenset[str | tuple[str, ...]]:
    """Every text marked in the code."""
    folder = Path(nextoffer.__file__).parent
    found = extract_from_dir(folder, [("**.py", "python")], keywords=KEYWORDS)
    return frozenset(message for _, _, message, _, _ in found)


@cache
def catalogue_file(language: str) -> Catalog:
    with (resources.files(texts) / f"{language}.po").open("rb") as file:
        return read_po(file, locale=language, abort_invalid=True)


def entries(language: str) -> list[Message]:
    return [message for message in catalogue_file(language) if message.id]


def facts(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_the_extractor_sees_the_texts_of_every_place_that_speaks() -> None:
    single = {message for message in sources() if isinstance(message, str)}

    assert len(sources()) > 200
    assert {"Champions", "Popular in the shop now.", "The shop", "verdict", "d MMMM"} <= single
    assert ("{n} day", "{n} days") in sources()


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_has_a_translation_and_no_entry_is_unused(language: str) -> None:
    known = {message.id for message in entries(language)}

    assert sources() - known == set(), "not in the catalogue"
    assert known - sources() == set(), "said nowhere any more"
    assert [message.id for message in entries(language) if message.fuzzy] == []


@pytest.mark.parametrize("language", OTHERS)
def test_every_plural_form_is_filled_and_keeps_the_facts(language: str) -> None:
    n_forms = catalogue_file(language).num_plurals
    assert n_forms == len({catalogue_form(language, n) for n in range(1000)})

    for message in entries(language):
        if isinstance(message.id, tuple):
            assert len(message.string) == n_forms, message.id
            assert facts(message.id[0]) | {"n"} == facts(message.id[1]), message.id
            for form in message.string:
                assert form and facts(form) == facts(message.id[1]), (message.id, form)
        else:
            assert message.string and facts(message.string) == facts(message.id), message.id


def catalogue_form(language: str, n: int) -> str:
    return texts.catalogue(language).ngettext("{n} day", "{n} days", n)


@pytest.mark.parametrize("language", OTHERS)
def test_no_text_says_nothing_or_ends_other_than_its_source(language: str) -> None:
    """A full stop lost or won in translation shows at once beside its neighbours."""
    for message in entries(language):
        one, said = (
            (message.id[0], message.string[0])
            if isinstance(message.id, tuple)
            else (message.id, message.string)
        )
        assert (one[-1] in ".!:") == (said[-1] in ".!:"), (one, said)
        assert one.strip() == one and said.strip() == said


@pytest.mark.parametrize("language", OTHERS)
def test_plurals_follow_unicode_for_every_number(language: str) -> None:
    from babel import Locale

    rule = Locale.parse(language).plural_form
    forms: dict[str, set[str]] = {}
    for n in range(2000):
        forms.setdefault(rule(n), set()).add(catalogue_form(language, n))

    assert all(len(said) == 1 for said in forms.values())
    assert len({said for (said,) in forms.values()}) == len(forms)


def test_the_languages_of_customers_and_settings_are_those_of_the_texts() -> None:
    assert bundle.LANGUAGES == texts.LANGUAGES == get_args(Language)


def test_catalogues_are_packed_into_the_wheel() -> None:
    import tomllib

    root = Path(nextoffer.__file__).parents[2]
    build = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    ignored = (root / ".gitignore").read_text().split()

    assert build == {"packages": ["src/nextoffer"]}  # the whole folder, not Python files alone
    assert not any(pattern in ("*.po", ".po") for pattern in ignored)
    assert all((resources.files(texts) / f"{language}.po").is_file() for language in OTHERS)
