"""How a check says no."""

from __future__ import annotations


def refuse_if(wrong: object, sentence: str) -> None:
    """Raise AssertionError with the sentence if anything is wrong."""
    if wrong:
        raise AssertionError(sentence)
