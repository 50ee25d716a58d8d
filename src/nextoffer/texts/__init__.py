"""Every word people read, in their language. English stands in the code; `<language>.po` holds the others.

To add a language: its name in LANGUAGES, its catalogue beside `ru.po`; tests/texts says what is missing.
"""

from nextoffer.texts.catalogue import LANGUAGES, catalogue, language_of, text, texts
from nextoffer.texts.figures import date_text, money_text, number_text, percent_text, warm_up
from nextoffer.texts.sentences import Said, in_language, listed, said, said_many, say, say_many

__all__ = [
    "LANGUAGES",
    "Said",
    "catalogue",
    "date_text",
    "in_language",
    "language_of",
    "listed",
    "money_text",
    "number_text",
    "percent_text",
    "said",
    "said_many",
    "say",
    "say_many",
    "text",
    "texts",
    "warm_up",
]
