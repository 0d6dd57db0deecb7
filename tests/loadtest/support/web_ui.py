"""Locust's web UI, as a browser asks it."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from tests.loadtest.support.locust_process import Locust
from tests.support.patience import patience


class WebUi:
    def __init__(self, locust: Locust, port: int) -> None:
        self._locust = locust
        self._base = f"http://127.0.0.1:{port}"

    def fetch(self, path: str, **form: object) -> str:
        data = urllib.parse.urlencode(form).encode() if form or path == "/stop" else None
        with urllib.request.urlopen(self._base + path, data, timeout=patience(20)) as response:
            body: bytes = response.read()
        return body.decode()

    def answers(self) -> bool:
        try:
            self.fetch("/")
        except OSError:
            return False
        return True

    def template(self) -> dict[str, Any]:
        match = re.search(r"window\.templateArgs = (\{.*?\})\s*(?:;|\n|</script>)", self.fetch("/"), re.DOTALL)
        assert match is not None
        found: dict[str, Any] = json.loads(match[1])
        return found

    def statistics(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.fetch("/stats/requests"))
        return found

    def has_users(self, count: int) -> bool:
        return bool(self.statistics()["user_count"] == count)

    def count(self, name: str) -> int:
        return sum(entry["num_requests"] for entry in self.statistics()["stats"] if entry["name"] == name)
