"""The catalogues: one `<language>.po` beside this file for each language but English, which is the source."""

from __future__ import annotations

from functools import cache, lru_cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO

LANGUAGES = ("en", "ru")  # the first is the source, and what is said where no language is known


@lru_cache(1024)
def language_of(tag: str | None) -> str:
    """The language that answers a tag such as ru-RU; English for every language without a catalogue.

    >>> language_of("ru-RU"), language_of("ru_RU.UTF-8"), language_of("de"), language_of(None)
    ('ru', 'ru', 'en', 'en')
    """
    language = (tag or "").replace("_", "-").partition("-")[0].lower()
    return language if language in LANGUAGES else LANGUAGES[0]


def text(message: str) -> str:
    """Mark a sentence for the catalogues; it is said later."""
    return message


def texts(one: str, many: str) -> tuple[str, str]:
    """Mark a sentence for one and for {n} of something; it is said later."""
    return one, many


def catalogue(tag: str) -> NullTranslations:
    """The translations that answer a language tag, compiled in memory from the packaged catalogue at first use."""
    return _compiled(language_of(tag))


@cache
def _compiled(language: str) -> NullTranslations:
    if language == LANGUAGES[0]:
        return NullTranslations()
    from importlib import resources

    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    with (resources.files(__package__) / f"{language}.po").open("rb") as file:
        entries = read_po(file, locale=language, abort_invalid=True)
    compiled = BytesIO()
    write_mo(compiled, entries)
    compiled.seek(0)
    return GNUTranslations(compiled)
