"""The text of a code: easy to read aloud, impossible to guess, and a typing error is noticed.

A code is 14 random characters and a check character, in groups of five: `7GK2Q-0VXHB-4TM9R`. The characters are
Crockford's 32 (no I, L, O, U), so each carries 5 bits: 70 random bits. Read as elements of the field GF(32), a code
word fulfils  a₁₅ = Σ αⁱ·aᵢ  with a primitive α. All weights differ and none is 0, so every wrong character and every
exchange of two characters, adjacent or not, is noticed; other errors with probability 31/32.

References
----------
Crockford, D. (2002), Base 32, www.crockford.com/base32.html: the characters, and which others are read as them.
Reed & Solomon (1960), Polynomial codes over certain finite fields, J. SIAM 8(2): one check symbol over GF(2^5).
(ISO 7064's MOD 37,36 needs 36 characters and does not notice every exchange.)
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final

import numpy as np

from nextoffer.domain.arrays import Bytes

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
N_RANDOM: Final = 14
LENGTH: Final = N_RANDOM + 1
_GROUP: Final = 5
_READ = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None})
_VALUE = {letter: value for value, letter in enumerate(ALPHABET)}


def _products() -> Bytes:
    """(15, 32) uint8: the product of each position's weight with each character; α is x modulo x⁵ + x² + 1."""
    powers = [1]
    for _ in range(30):
        doubled = powers[-1] << 1
        powers.append(doubled ^ 0b100101 if doubled & 32 else doubled)
    log = {power: exponent for exponent, power in enumerate(powers)}
    exponents = [*range(1, N_RANDOM + 1), 0]  # the check character has weight 1
    rows = [[0] + [powers[(log[value] + e) % 31] for value in range(1, 32)] for e in exponents]
    return np.array(rows, dtype=np.uint8)


_PRODUCT: Final = _products()
_PRODUCT_LISTS: Final[list[list[int]]] = _PRODUCT.tolist()


def fresh_codes(n: int, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> list[str]:
    """So many new codes, none of which tells anything about another.

    >>> fresh_codes(1, lambda n: bytes(range(n)))
    ['01234-56789-ABCDF']
    """
    drawn = np.frombuffer(random_bytes(n * N_RANDOM), dtype=np.uint8).reshape(n, N_RANDOM) & 31
    check = np.bitwise_xor.reduce(_PRODUCT[np.arange(N_RANDOM), drawn], axis=1)
    letters = np.frombuffer(ALPHABET.encode(), dtype=np.uint8)[np.column_stack([drawn, check])]
    groups = [letters[:, first : first + _GROUP] for first in range(0, LENGTH, _GROUP)]
    dash = np.full((n, 1), ord("-"), dtype=np.uint8)
    text = np.ascontiguousarray(np.concatenate([groups[0], dash, groups[1], dash, groups[2]], axis=1))
    codes: list[str] = text.view(f"S{LENGTH + 2}").reshape(n).astype(str).tolist()
    return codes


def read_code(text: str) -> tuple[str, bool]:
    """What somebody typed, as it is stored, and whether it can be a code; O is read as 0, I and L as 1.

    >>> read_code("o1234 56789abcdf"), read_code("01234-56789-ABCDG")[1]
    (('01234-56789-ABCDF', True), False)
    """
    plain = text.upper().translate(_READ)
    try:
        values = [_VALUE[letter] for letter in plain]
    except KeyError:
        return plain, False
    if len(values) != LENGTH:
        return plain, False
    total = 0
    for products, value in zip(_PRODUCT_LISTS, values, strict=True):
        total ^= products[value]
    return "-".join(plain[first : first + _GROUP] for first in range(0, LENGTH, _GROUP)), total == 0


def could_be_mistyped(text: str) -> bool:
    """Whether a text that is no code has the length of one: then it was mistyped, else it is something else."""
    return len(text.translate(_READ)) == LENGTH
