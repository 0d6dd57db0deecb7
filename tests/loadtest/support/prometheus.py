"""What `--metrics` serves, as Prometheus reads it; and whether the package for that is installed."""

from __future__ import annotations

import os
import re
import urllib.request
from collections.abc import Mapping
from importlib.util import find_spec

import pytest

from tests.support.patience import patience

INSTALLED = find_spec("prometheus_client") is not None or os.environ.get("CI") == "true"
"""Where CI=true, a missing package fails."""
NEEDS_PROMETHEUS_CLIENT = pytest.mark.skipif(not INSTALLED, reason="needs prometheus-client: trio-hs-drill[metrics]")
_SAMPLE = re.compile(r"([a-z_]+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')

Sample = tuple[str, frozenset[tuple[str, str]]]


class Samples:
    """The values of the Prometheus text format."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._values: dict[Sample, float] = {}
        for line in text.splitlines():
            if not line.startswith("#"):
                found = _SAMPLE.fullmatch(line)
                assert found is not None, line
                sample = (found[1], frozenset((name, value) for name, value in _LABEL.findall(found[2] or "")))
                assert sample not in self._values, line
                self._values[sample] = float(found[3])

    def __call__(self, name: str, **labels: str) -> float | None:
        """The value of the sample with exactly these labels."""
        return self._values.get((name, frozenset(labels.items())))

    def of(self, name: str) -> Mapping[frozenset[tuple[str, str]], float]:
        """All values of a name, by their labels."""
        return {labels: value for (one, labels), value in self._values.items() if one == name}

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self._values}


def scrape(port: int) -> Samples:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=patience(20)) as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        return Samples(response.read().decode())
