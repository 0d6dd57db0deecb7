"""How much the tests that search at random, or repeat, do: a sample in every run, everything with `./dev test --all`.

A sample is the same test with fewer examples: large enough for every planted bug to be caught, and new in every run, so that
many runs of CI search as much as one long run.
"""

from __future__ import annotations

import os

EVERYTHING = os.environ.get("TRIO_HS_TEST_EVERYTHING") == "1"


def amount(sample: int, everything: int) -> int:
    """`sample`, or `everything` where TRIO_HS_TEST_EVERYTHING=1."""
    return everything if EVERYTHING else sample
