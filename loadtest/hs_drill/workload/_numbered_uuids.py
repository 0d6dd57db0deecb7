"""UUIDs that hold a row's number, so that a primary key of UUIDs tells its row."""

from __future__ import annotations

from random import Random
from uuid import UUID

__all__ = ["NumberedUuids"]

_WORD = 2**64 - 1
_CHECK = 2**58 - 1


class NumberedUuids:
    """UUIDs of version 4 (random): 64 of the 122 free bits are the scrambled number, 58 check it.

    So neighbouring numbers lie far apart in an index, as random UUIDs do.
    """

    def __init__(self, salt: str) -> None:
        rng = Random(salt)
        self._start = rng.getrandbits(64)
        self._first, self._second, self._checking = (rng.getrandbits(64) | 1 for _ in range(3))
        self._undo_first, self._undo_second = (pow(factor, -1, 2**64) for factor in (self._first, self._second))

    def make(self, number: int) -> UUID:
        """The UUID of a number from 0 to 2**64 - 1."""
        word = (number ^ self._start) * self._first & _WORD
        word = (word ^ word >> 32) * self._second & _WORD
        check = (word ^ word >> 31) * self._checking >> 5 & _CHECK
        high = word >> 16 << 16 | 0x4000 | word >> 4 & 0x0FFF
        low = 2 << 62 | (word & 0xF) << 58 | check
        return UUID(int=high << 64 | low)

    def number(self, value: UUID) -> int | None:
        """The number in a UUID; None if it was not made here."""
        high, low = value.int >> 64, value.int & _WORD
        word = high >> 16 << 16 | (high & 0x0FFF) << 4 | low >> 58 & 0xF
        scrambled = word * self._undo_second & _WORD
        scrambled ^= scrambled >> 32
        number = (scrambled * self._undo_first & _WORD) ^ self._start
        return number if self.make(number) == value else None

    def number_in(self, value: object) -> int | None:
        """`number` of a UUID, its text or its bytes, which the server may have filled up with zeros. Raises ValueError for
        anything else."""
        if isinstance(value, bytes):
            value = UUID(bytes=value[:16])
        return self.number(value if isinstance(value, UUID) else UUID(str(value)))
