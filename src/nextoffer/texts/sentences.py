"""Sentences said in a reader's language, with numbers in the plural form it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from nextoffer.texts.catalogue import LANGUAGES, catalogue
from nextoffer.texts.figures import number_text


def say(language: str, message: str, /, **facts: Any) -> str:
    """A sentence in a language, with its {facts} filled in."""
    return _filled(catalogue(language).gettext(message), language, facts)


def say_many(language: str, one: str, many: str, n: int, /, **facts: Any) -> str:
    """A sentence about {n} of something, in the plural form the language has for that number."""
    return _filled(catalogue(language).ngettext(one, many, n), language, {"n": n, **facts})


class Said(str):
    """An English text that remembers how it was made, so that it can be said in another language."""

    message: str
    many: str | None
    facts: Mapping[str, Any]

    def in_(self, language: str) -> str:
        """The same text in another language."""
        if self.many is None:
            return say(language, self.message, **self.facts)
        return say_many(language, self.message, self.many, self.facts["n"], **self.facts)

    def __reduce__(self) -> tuple[Any, ...]:
        return _said, (self.message, self.many, self.facts)


def said(message: str, /, **facts: Any) -> Said:
    """An English text, to be said in the reader's language later; facts may be such texts themselves."""
    return _said(message, None, facts)


def said_many(one: str, many: str, n: int, /, **facts: Any) -> Said:
    """An English text about {n} of something, to be said in the reader's language later."""
    return _said(one, many, {"n": n, **facts})


def listed(words: Sequence[str]) -> Said:
    """English words, one or more, as a list that can be said in another language, word by word."""
    told = said(words[0])
    for word in words[1:]:
        told = said("{words}, {word}", words=told, word=said(word))
    return told


def in_language(message: str, language: str) -> str:
    """A text in the reader's language, as far as it can be said there."""
    return message.in_(language) if isinstance(message, Said) else message


def _said(message: str, many: str | None, facts: Mapping[str, Any]) -> Said:
    source = LANGUAGES[0]
    english = (
        say(source, message, **facts)
        if many is None
        else say_many(source, message, many, facts["n"], **facts)
    )
    made = Said(english)
    made.message, made.many, made.facts = message, many, facts
    return made


def _filled(message: str, language: str, facts: Mapping[str, Any]) -> str:
    if not facts:
        return message
    return message.format_map({name: _fact(fact, language) for name, fact in facts.items()})


def _fact(fact: Any, language: str) -> Any:
    """Numbers are grouped as the language does, texts are said in it; anything else stays as it is."""
    if isinstance(fact, str):
        return fact.in_(language) if isinstance(fact, Said) else fact
    return number_text(language, fact) if isinstance(fact, int | float | Decimal) else fact
