"""Choices that depend on nothing but a text and a seed."""

from hashlib import blake2b
from math import exp
from statistics import NormalDist

_NORMAL = NormalDist()


class Dice:
    """
    Draw numbers from the hash of a text and a salt: the same pair always gives the same draws.

    Holds 512 bits; each draw uses up `log2(n)` of them, and draws after the last are all zero.
    """

    __slots__ = ("_state", "fingerprint")

    def __init__(self, data: bytes, salt: str) -> None:
        digest = blake2b(data, digest_size=64, person=_person(salt)).digest()
        self.fingerprint = digest[:12].hex()
        self._state = int.from_bytes(digest, "little")

    def below(self, n: int) -> int:
        """Return a number from 0 to n - 1."""
        self._state, drawn = divmod(self._state, n)
        return drawn

    def log_normal(self, sigma: float) -> float:
        """Return a factor whose median is 1 and whose logarithm has standard deviation `sigma`."""
        return exp(sigma * _NORMAL.inv_cdf((self.below(1 << 20) + 0.5) / (1 << 20)))


def _person(salt: str) -> bytes:
    # blake2b takes 16 bytes here; a longer salt is hashed down.
    raw = salt.encode("utf-8", "surrogatepass")
    return raw if len(raw) <= 16 else blake2b(raw, digest_size=16).digest()
