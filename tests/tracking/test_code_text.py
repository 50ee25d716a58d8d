"""A code is read as it was meant, and no single slip of the finger makes another code of it."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from nextoffer.tracking.code_text import ALPHABET, could_be_mistyped, fresh_codes, read_code

CODES = st.binary(min_size=14, max_size=14).map(lambda drawn: fresh_codes(1, lambda _: drawn)[0])


@given(CODES, st.integers(0, 14), st.sampled_from(ALPHABET))
def test_every_wrong_character_is_noticed(code: str, place: int, letter: str) -> None:
    plain = code.replace("-", "")
    wrong = plain[:place] + letter + plain[place + 1 :]

    assert read_code(wrong)[1] == (wrong == plain)


@given(CODES, st.integers(0, 14), st.integers(0, 14))
def test_every_exchange_of_two_characters_is_noticed(code: str, one: int, other: int) -> None:
    letters = list(code.replace("-", ""))
    letters[one], letters[other] = letters[other], letters[one]
    swapped = "".join(letters)

    assert read_code(swapped)[1] == (swapped == code.replace("-", ""))


def test_both_hold_for_every_place_and_character_of_one_code() -> None:
    plain = fresh_codes(1)[0].replace("-", "")
    for place, right in enumerate(plain):
        for letter in set(ALPHABET) - {right}:
            assert not read_code(plain[:place] + letter + plain[place + 1 :])[1]


@given(CODES)
def test_a_code_is_read_however_it_is_typed(code: str) -> None:
    typed = code.lower().replace("-", " ").replace("0", "o").replace("1", "l")

    assert read_code(typed) == (code, True)
    assert read_code(code.replace("-", "").replace("1", "I")) == (code, True)


@given(st.text(max_size=20))
def test_any_text_is_read_without_an_error(text: str) -> None:
    code, is_one = read_code(text)

    assert not is_one or (len(code) == 17 and set(code) <= set(ALPHABET) | {"-"})
    assert isinstance(could_be_mistyped(text), bool)


def test_many_codes_differ_and_use_every_character_in_every_place() -> None:
    codes = fresh_codes(20_000)

    assert len(set(codes)) == 20_000
    assert all(read_code(code) == (code, True) for code in codes[:200])
    for place in (*range(5), *range(6, 11), *range(12, 17)):
        assert {code[place] for code in codes} == set(ALPHABET)


def test_seventy_random_bits_go_into_a_code() -> None:
    asked = []

    def count(n: int) -> bytes:
        asked.append(n)
        return bytes(n)

    fresh_codes(3, count)

    assert asked == [3 * 14]  # of each byte five bits are used
    assert fresh_codes(0) == []
