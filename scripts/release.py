"""Build both distributions and the release notes into dist/, and check them: `./dev release [--url URL] [--draft]`.

It builds what is committed, from a copy: there README links become absolute, or plain text without a URL. Nothing is uploaded.
The checks install into fresh environments, and run outside of the clone. dist/ stays as it is until all of them have passed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
PLACEHOLDER = "https://example.invalid/trio-hs"
CONSTRAINTS = ROOT / "constraints.txt"
END_SECONDS = 60.0
"""How long a program may take to end after SIGTERM."""
CLIENT_NEEDS = {"trio-hs", "trio", "outcome", "attrs", "idna", "sniffio", "sortedcontainers"}
"""The client, its two dependencies, and theirs."""
TABLE = {
    "database": "cars",
    "name": "trucks",
    "columns": {
        "id": "INT NOT NULL",
        "company": "VARCHAR(40) NOT NULL",
        "model": "VARCHAR(40) NOT NULL",
        "mileage": "INT NOT NULL DEFAULT 0",
        "note": "VARCHAR(100) NULL",
    },
    "primary_key": ["id"],
    "indexes": {"by_company": ["company", "model"]},
}


def fail(message: str) -> NoReturn:
    sys.exit(f"release: {message}")


def say(message: str) -> None:
    print(f"release: {message}", flush=True)


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a command, and return what it printed. A failure ends the release with its output."""
    words = [str(part) for part in command]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, cwd=cwd, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        try:
            out, err = process.communicate()
        except BaseException:
            end(process)
            raise
    if process.returncode:
        fail(f"{' '.join(words)}: exit code {process.returncode}\n{out}{err}")
    return out


def end(process: subprocess.Popen[str]) -> None:
    """End a command and what it has started."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signum)
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=END_SECONDS)  # until none of them has its output open
            return


def exit_on_signals() -> None:
    """Have a signal end the release as an exception does, which removes what is temporary."""

    def leave(signum: int, _: object) -> NoReturn:
        for other in ended_by:
            signal.signal(other, signal.SIG_IGN)
        sys.exit(128 + signum)

    hangup = [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL else []  # nohup ignores it
    ended_by = [signal.SIGINT, signal.SIGTERM, *hangup]
    for one in ended_by:
        signal.signal(one, leave)


@contextmanager
def temporary_folder(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """A folder that is removed in the end. Its making is not interrupted: a signal in the middle of it would leave it, or the
    file with which Python tries where it can write. (This program has one thread, so blocking a signal there holds it off.)"""
    with ExitStack() as stack:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
        try:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix, dir=parent))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield Path(directory)


def environment(path: Path, *install: str | Path) -> Path:
    """A new virtual environment with these installed. Returns the folder of its programs."""
    run(sys.executable, "-m", "venv", path, cwd=path.parent)
    pip = (path / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check", "install")
    run(*pip, "--constraint", CONSTRAINTS, *install, cwd=path)
    return path / "bin"


# --- What is built ---------------------------------------------------------------------------------------------------


def notes(changelog: str, version: str) -> str:
    """The section of a version in the changelog. Raises ValueError if there is none."""
    found = re.search(rf"^## {re.escape(version)}(?![\w.])[^\n]*\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError(f"CHANGELOG.md has no section for {version}: cut it from Unreleased")
    return found[1].strip() + "\n"


def unreleased(changelog: str) -> bool:
    """Whether the changelog has entries that are in no version."""
    with suppress(ValueError):
        return bool(re.sub(r"^###.*$", "", notes(changelog, "Unreleased"), flags=re.MULTILINE).strip())
    return False


def with_links(text: str, url: str, version: str, folder: str = "") -> str:
    """Markdown whose links lead somewhere on a page that is not in the repository: to `url`, or nowhere if that is empty."""

    def link(found: re.Match[str]) -> str:
        image, label, target = found.groups()
        if "://" in target or target.startswith("#"):
            return found[0]
        if not url:
            return label
        path, _, anchor = target.partition("#")
        path = (Path(folder) / path).as_posix().replace("loadtest/../", "")
        return f"{image}[{label}]({url}/{'raw' if image else 'blob'}/v{version}/{path}{'#' + anchor if anchor else ''})"

    return re.sub(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)", link, text)


def copy_of_what_is_committed(source: Path, url: str, version: str) -> None:
    archive = source.with_suffix(".tar")
    run("git", "archive", "--output", archive, "HEAD")
    with tarfile.open(archive) as tar:
        tar.extractall(source, filter="data")
    for folder in ("", "loadtest"):
        readme, project = source / folder / "README.md", source / folder / "pyproject.toml"
        readme.write_text(with_links(readme.read_text(), url, version, folder))
        text = project.read_text()
        if PLACEHOLDER not in text:
            fail(f"{folder or '.'}/pyproject.toml does not have the placeholder {PLACEHOLDER}")
        project.write_text(text.replace(PLACEHOLDER, url) if url else re.sub(r'^Source = ".*"\n', "", text, flags=re.MULTILINE))


# --- Before anything is built ----------------------------------------------------------------------------------------


def check_version(version: str, changelog: str, draft: bool) -> None:
    """Refuse to build what would not be this version. A draft may have more in it."""
    project = (ROOT / "loadtest" / "pyproject.toml").read_text()
    if re.findall(r'"trio-hs\[testing\]==([^"]*)"', project) != [version]:
        fail(f'loadtest/pyproject.toml must depend on "trio-hs[testing]=={version}", the version of trio_hs/__init__.py')
    if draft:
        return
    if unreleased(changelog):
        fail("CHANGELOG.md has entries under Unreleased: cut them into a version, or build a --draft")
    tag = f"v{version}"
    if run("git", "tag", "--list", tag) and run("git", "rev-list", "-1", tag) != run("git", "rev-list", "-1", "HEAD"):
        fail(f"the tag {tag} is another commit: raise __version__ in trio_hs/__init__.py, or build a --draft")


# --- The checks ------------------------------------------------------------------------------------------------------


def check_contents(dist: Path, version: str) -> None:
    scenarios = {path.name for path in (ROOT / "scenarios").glob("*.yaml")}
    expected = {
        f"trio_hs-{version}-py3-none-any.whl": {"trio_hs/py.typed", "trio_hs/testing/__init__.py"},
        f"trio_hs_drill-{version}-py3-none-any.whl": {"hs_drill/py.typed", "hs_drill/locustfile.py"}
        | {f"hs_drill/scenarios/{name}" for name in scenarios},
    }
    for name, needed in expected.items():
        with zipfile.ZipFile(dist / name) as wheel:
            inside = set(wheel.namelist())
            top = {path.split("/")[0] for path in inside}
            (metadata,) = (path for path in inside if path.endswith(".dist-info/METADATA"))
            text = wheel.read(metadata).decode()
        package = "trio_hs" if name.startswith("trio_hs-") else "hs_drill"
        if top != {package, name.removesuffix("-py3-none-any.whl") + ".dist-info"}:
            fail(f"{name} has {sorted(top)} at its top")
        if missing := needed - inside:
            fail(f"{name} lacks {', '.join(sorted(missing))}")
        if not any(path.endswith("/licenses/LICENSE") for path in inside):
            fail(f"{name} has no LICENSE")
        if relative := re.findall(r"\]\((?!https?://|#)[^)]*\)", text):
            fail(f"{name}: its README has relative links: {relative}")
    say("contents: both wheels have py.typed, LICENSE and what they ship, and no relative links")


def check_client(work: Path, wheel: Path, readme: str) -> None:
    bin_ = environment(work / "client", wheel)
    listed = json.loads(run(bin_ / "python", "-m", "pip", "list", "--format", "json", cwd=work))
    names = {one["name"].lower() for one in listed} - {"pip", "setuptools"}
    if names != CLIENT_NEEDS:
        fail(f"the client alone installs {sorted(names)}")
    say(f"the client alone installs {', '.join(sorted(names))}")
    (example,) = [text for text in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "trio.run(" in text]
    for name, text in {"table.json": json.dumps([TABLE]), "read": "read-secret", "write": "write-secret"}.items():
        (work / name).write_text(text)
    server = [bin_ / "python", "-m", "trio_hs.testing", "--table-file", "table.json"]
    server += ["--read-secret-file", "read", "--write-secret-file", "write"]
    with subprocess.Popen([str(part) for part in server], cwd=work, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())["ready"]
            ports = (f'[("inet", "127.0.0.1", {ready[port]})]' for port in ("port_read", "port_write"))
            program = example.replace("open_manager(", f"open_manager({', '.join(ports)}, ", 1)
            printed = run(bin_ / "python", "-c", program, cwd=work).splitlines()
        finally:
            process.terminate()
    if not printed or printed[0] != "{'id': '1', 'company': 'Scania', 'model': 'G400', 'note': None}":
        fail(f"the README's example printed {printed}")
    say(f"the README's example ran against the test server and printed {len(printed)} lines")


def check_harness(work: Path, wheels: Sequence[Path]) -> None:
    bin_ = environment(work / "harness", *wheels)
    for line in (["check", "reader-failover"], ["drills", "--list"]):
        printed = run(bin_ / "hs-drill", *line, cwd=work)
        say(f"hs-drill {' '.join(line)}: {len(printed.splitlines())} lines")
    locustfile = run(bin_ / "hs-drill", "locustfile", cwd=work).strip()
    if not Path(locustfile).is_relative_to(work):
        fail(f"hs-drill of the wheel found the locustfile of the clone: {locustfile}")
    options = ("--headless", "--only-summary", "--scenario", "mixed", "--cluster", "embedded", "-t", "4s")
    run(bin_ / "locust", "-f", locustfile, *options, cwd=work)
    say('locust -f "$(hs-drill locustfile)" --scenario mixed: passed')


# --- From the command line to dist/ ----------------------------------------------------------------------------------


def checked_url(text: str) -> str:
    """Where the repository can be read. Exits with 2 unless it can be part of links, for all to see."""
    with suppress(ValueError):
        parts = urlsplit(text)
        # What TOML, Markdown and links take as it is.
        plain = re.fullmatch(r"[\w.:/~%+@!$&,;=-]+", text) and "@" not in parts.netloc
        if plain and parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return text.rstrip("/")
    sys.stderr.write(f"release: --url must be like https://code.example/trio-hs, not {text!r}\n")
    sys.exit(2)


def build(work: Path, url: str, version: str) -> Path:
    """Build both distributions, and check them. Returns their folder."""
    dist = work / "dist"
    copy_of_what_is_committed(work / "source", url, version)
    tools = environment(work / "tools", "build", "twine")
    for folder in ("source", "source/loadtest"):
        # The wheel is built from the source distribution, so that both are known to be complete.
        run(tools / "python", "-m", "build", "--outdir", dist, work / folder)
    built = sorted(dist.iterdir())
    say(f"built {', '.join(path.name for path in built)}")
    run(tools / "twine", "check", "--strict", *built)
    say("twine check: passed")
    check_contents(dist, version)
    wheels = [path for path in built if path.suffix == ".whl"]
    check_client(work, dist / f"trio_hs-{version}-py3-none-any.whl", (ROOT / "README.md").read_text())
    check_harness(work, wheels)
    return dist


def replace(old: Path, new: Path) -> None:
    """Put a copy of a folder in the place of another one, which stays until all is copied."""
    with temporary_folder(".dist-", old.parent) as directory:
        shutil.copytree(new, copy := directory / "new")
        if old.exists():
            old.rename(directory / "old")
        copy.rename(old)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("./dev release", description=__doc__)
    parser.add_argument("--url", help="where the repository can be read, for links and metadata")
    parser.add_argument(
        "--draft",
        action="store_true",
        help="build also what is no release: with unreleased changes, or after the version's tag",
    )
    given = parser.parse_args(arguments)
    url = "" if given.url is None else checked_url(given.url)
    if run("git", "status", "--porcelain", "--untracked-files=no"):
        fail("commit first: a release is built from what is committed")
    (version,) = re.findall(r'^__version__ = "(.*)"$', (ROOT / "trio_hs" / "__init__.py").read_text(), re.MULTILINE)
    changelog = (ROOT / "CHANGELOG.md").read_text()
    check_version(version, changelog, given.draft)
    try:
        text = notes(changelog, version)
    except ValueError as error:
        fail(str(error))
    with temporary_folder("trio-hs-release-") as work:
        os.environ["TMPDIR"] = str(work)  # what a program leaves that is ended goes with it
        dist = build(work, url, version)
        (dist / "RELEASE-NOTES.md").write_text(with_links(text, url, version))
        replace(ROOT / "dist", dist)
    say(f"trio-hs {version} is in {ROOT / 'dist'}; its notes are in RELEASE-NOTES.md")


if __name__ == "__main__":
    exit_on_signals()
    main()
