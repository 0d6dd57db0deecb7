"""Write constraints-lowest.txt, for `./dev test --lowest`: run it after a change to a lower bound.

Of what users install, the lowest versions that both pyproject.toml declare. Of the rest, what pip finds with those.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints-lowest.txt"
FOR_USERS = ("describe", "otel", "testing", "metrics")
"""The extras that count. `sql` needs the headers of MariaDB's client, and the others are for development, where
constraints.txt holds."""


def lowest() -> Iterator[tuple[str, str]]:
    """The packages with the lowest version that we declare."""
    for name in ("pyproject.toml", "loadtest/pyproject.toml"):
        project = tomllib.loads((ROOT / name).read_text())["project"]
        extras = project.get("optional-dependencies", {})
        for requirement in [*project["dependencies"], *(one for extra in FOR_USERS for one in extras.get(extra, []))]:
            if found := re.fullmatch(r"([\w.-]+)>=([\w.]+)", requirement):
                yield found[1], found[2]
            elif not requirement.startswith("trio-hs["):
                raise SystemExit(f"{name}: {requirement} has no lower bound")


def main() -> None:
    pins = "".join(f"{name}=={version}\n" for name, version in lowest())
    with tempfile.TemporaryDirectory() as directory:
        bounds = Path(directory, "bounds.txt")
        bounds.write_text(pins)
        venv.create(directory, with_pip=True)
        pip = [f"{directory}/bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
        install = [
            *pip,
            "install",
            "--constraint",
            str(bounds),
            "--editable",
            f"{ROOT}[test]",
            "--editable",
            f"{ROOT}/loadtest[metrics]",
        ]
        subprocess.run(install, check=True)
        found = subprocess.run([*pip, "freeze", "--exclude-editable"], check=True, stdout=subprocess.PIPE, text=True).stdout
    python = ".".join(map(str, sys.version_info[:2]))
    CONSTRAINTS.write_text(
        f"# Made by scripts/lowest.py with Python {python}; `./dev test --lowest` installs with these.\n{found}"
    )


if __name__ == "__main__":
    main()
