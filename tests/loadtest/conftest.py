from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.loadtest.support.browser import Browser

# Importing locust patches the standard library of the whole process, which ends trio in it. Here only its classes are
# wanted; Locust itself runs in processes of its own, whose environment drops this again.
os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    """Without one the test is skipped, but where CI=true, which must have one, it fails."""
    found = Browser.find(tmp_path)
    if found is None:
        why = "no Chromium to look at pages with (Debian: apt-get install chromium)"
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have it: {why}", pytrace=False)
        pytest.skip(why)
    return found
