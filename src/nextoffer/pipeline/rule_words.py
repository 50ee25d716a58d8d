"""What rules name, in words, and what of it a bundle does not know, with the nearest that it does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from nextoffer.bundle.bundle import Bundle
from nextoffer.config import Rule, nearest
from nextoffer.domain.arrays import Strings
from nextoffer.offers.audiences import Known, known_of, leaves

_HINTS = 50  # words a nearest one is looked for; a file with more wrong ones has another fault
_SHOWN = 3  # unknown ids of one rule


def offer_words(rule: Rule) -> str:
    """What a rule offers, in a few words."""
    if rule.is_basket:
        return "the whole basket"
    if rule.wanted:
        return (
            rule.wanted[0] if len(rule.wanted) == 1 else f"{rule.wanted[0]} and {len(rule.wanted) - 1} more"
        )
    named = [f"category {rule.category}"] * bool(rule.category) + [f"brand {rule.brand}"] * bool(rule.brand)
    return "the best of " + ", ".join(named)


def unknown_words(bundle: Bundle, known: Known, rules: Sequence[Rule]) -> dict[int, list[str]]:
    """Rule -> one sentence for each thing it names that the bundle does not know."""
    products = _missing(bundle.catalogue.ids, (one for rule in rules for one in rule.wanted))
    below, _ = leaves(bundle.catalogue.category)
    brands = {name for name in bundle.catalogue.brand.to_arrow().unique().to_pylist() if name}
    hints = _Hints(bundle, list(below), sorted(brands))

    def faults(rule: Rule) -> Iterator[str]:
        gone = [one for one in rule.wanted if one in products]
        yield from (f"product {one!r} is not in the catalogue{hints.product(one)}" for one in gone[:_SHOWN])
        if len(gone) > _SHOWN:
            yield f"nor are {len(gone) - _SHOWN} more of its products"
        audience = rule.audience
        for key, path in (
            ("category", rule.category),
            ("bought_category", audience.bought_category),
            ("not_bought_category", audience.not_bought_category),
        ):
            if path is not None and path not in below:
                yield f"{key}: there is no category {path!r}{hints.category(path)}"
        if rule.brand is not None and rule.brand not in brands:
            yield f"there is no brand {rule.brand!r}{hints.brand(rule.brand)}"
        strangers = [at for at, one in enumerate(audience.customers) if known.row[one] < 0]
        if strangers:  # by their place: the words go to the log of the server, which names nobody
            which = f"customers[{strangers[0]}] for one"
            yield f"{len(strangers)} of its customers have no purchase before the bundle, {which}"

    found = {at: list(faults(rule)) for at, rule in enumerate(rules)}
    return {at: said for at, said in found.items() if said}


def rule_warnings(bundle: Bundle, rules: Sequence[Rule]) -> list[str]:
    """One line for each thing a rule names that the bundle does not know: for whoever exports or serves."""
    known = known_of(bundle, [rule.audience for rule in rules])
    found = unknown_words(bundle, known, rules)
    return [f"rule {rules[at].name}: {said}" for at, words in found.items() for said in words]


class _Hints:
    """The nearest known word, for the first wrong ones; finding it takes a while."""

    def __init__(self, bundle: Bundle, categories: list[str], brands: list[str]) -> None:
        self.bundle, self.categories, self.brands, self.left = bundle, categories, brands, _HINTS

    def product(self, word: str) -> str:
        """Of the ids as long as this one, more or less, that begin or end alike."""
        if self.left <= 0:
            return ""
        ids = self.bundle.catalogue.ids.to_arrow()
        length = pc.utf8_length(ids)
        alike = pc.and_(pc.greater(length, len(word) - 2), pc.less(length, len(word) + 2))
        ends = pc.or_(pc.starts_with(ids, word[:2]), pc.ends_with(ids, word[-2:]))
        return self._near(word, ids.filter(pc.and_(alike, ends)).to_pylist()[:2000])

    def category(self, word: str) -> str:
        """A path whose last part is the word, else the nearest path."""
        below = [path for path in self.categories if path.rpartition(" > ")[2].lower() == word.lower()]
        return f"; did you mean {below[0]!r}?" if below else self._near(word, self.categories)

    def brand(self, word: str) -> str:
        """The nearest brand."""
        return self._near(word, self.brands)

    def _near(self, word: str, among: Iterable[str]) -> str:
        self.left -= 1
        return nearest(word, among) if self.left >= 0 else ""


def _missing(ids: Strings, named: Iterable[str]) -> set[str]:
    """Which of these ids are not there."""
    words = pa.array(sorted(set(named)), pa.large_string())
    gone = pc.is_null(pc.index_in(words, ids.to_arrow()))
    return set(words.filter(gone).to_pylist())
