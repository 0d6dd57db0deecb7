"""The images that the servers run from: one for each server version, with the same Dockerfile on another Debian release."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio

from hs_drill._cluster import SUITES, ClusterError

from ._container_engine import ContainerEngine, engine_errors, error_text

IMAGE_FILES = Path(__file__).parent / "image"
BUILD_SECONDS = 900.0
PROGRESS_SECONDS = 10.0
"""How often to report progress while an image is pulled or built."""


def image_name(version: str) -> str:
    """The image's name. It contains a hash of the Dockerfile, so that a changed one is built anew."""
    return f"trio-hs/mariadb:{version}-{hashlib.sha256((IMAGE_FILES / 'Dockerfile').read_bytes()).hexdigest()[:12]}"


def base_image(suite: str) -> str:
    match = re.search(r"^FROM (\S+)$", (IMAGE_FILES / "Dockerfile").read_text(), re.MULTILINE)
    assert match is not None
    return match[1].replace("${SUITE}", suite)


async def has_image(engine: ContainerEngine, version: str) -> bool:
    return await engine.call("looking for the image", lambda: engine.has(image_name(version)))


async def provide_image(engine: ContainerEngine, version: str, progress: Callable[[str], None]) -> str:
    """Build the image of a server version in `SUITES` if the engine does not have it, and return its name.

    A build takes about half a minute, and needs the network. Its base image is pulled; where that fails, it is built from
    Debian's packages if mmdebstrap is installed. Raises `ClusterError`.
    """
    name, suite = image_name(version), SUITES[version]
    base = base_image(suite)
    if await has_image(engine, version):
        return name
    with trio.move_on_after(BUILD_SECONDS):
        if not await engine.call("looking for the image", lambda: engine.has(base)):
            await _provide_base(engine, base, suite, progress)
        progress(f"building the image {name}; this is done once, and takes about half a minute")
        try:
            await _follow(
                lambda: engine.api.api.build(
                    path=str(IMAGE_FILES),
                    tag=name,
                    buildargs={"SUITE": suite},
                    rm=True,
                    forcerm=True,
                    decode=True,
                    use_config_proxy=True,
                ),
                progress,
            )
        except ClusterError as error:
            raise ClusterError(f"the image could not be built: {error}") from error
        return name
    raise ClusterError(f"the image {name} was not there after {BUILD_SECONDS:.0f} s")


async def _provide_base(engine: ContainerEngine, base: str, suite: str, progress: Callable[[str], None]) -> None:
    """Pull the base image, or build it. Raises `ClusterError`."""
    progress(f"pulling {base}")
    try:
        await _follow(lambda: engine.api.api.pull(*base.split(":"), stream=True, decode=True), progress)
    except ClusterError as error:
        failed = f"the image {base} is not here and cannot be pulled: {error}"
        mmdebstrap = shutil.which("mmdebstrap")
        if mmdebstrap is None:
            raise ClusterError(
                f"{failed} (install mmdebstrap, and it is built without a registry; or build it elsewhere: "
                f"mmdebstrap --variant=minbase {suite} - | docker import - {base})"
            ) from error
        progress(f"{base} cannot be pulled; building it with mmdebstrap, which takes a minute or two")
        try:
            await _build_base(engine, base, [mmdebstrap, "--quiet", "--variant=minbase", suite])
        except ClusterError as building:
            raise ClusterError(f"{failed}; {building}") from building


async def _build_base(engine: ContainerEngine, base: str, command: list[str]) -> None:
    name, _, tag = base.partition(":")
    with tempfile.TemporaryDirectory(prefix="trio-hs-base-") as directory:
        tar = str(Path(directory, "base.tar"))
        result = await trio.run_process([*command, tar], capture_stderr=True, check=False)
        if result.returncode:
            reason = result.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise ClusterError(f"mmdebstrap cannot build it: {reason or f'exit code {result.returncode}'}")
        load = partial(engine.api.api.import_image_from_file, tar, repository=name, tag=tag)
        await engine.call("it cannot be imported", load)


async def _follow(start: Callable[[], Any], progress: Callable[[str], None]) -> None:
    """Run a build or pull, which reports its steps line by line, and pass some of the lines on. Raises `ClusterError`.

    When cancelled, return at once. The thread closes the stream at its next line, and the engine then stops the job.
    """
    cancelled = False

    def run() -> None:
        report_at = 0.0
        lines = start()
        try:
            for line in lines:
                if cancelled:
                    return
                if "error" in line:
                    raise ClusterError(" ".join(str(line["error"]).split()))
                text = " ".join(str(line.get("stream") or line.get("status") or "").split())
                now = trio.from_thread.run_sync(trio.current_time)
                if text and (text.startswith("Step ") or now >= report_at):
                    report_at = now + PROGRESS_SECONDS
                    trio.from_thread.run_sync(progress, text[:100])
        finally:
            lines.close()

    try:
        await trio.to_thread.run_sync(run, abandon_on_cancel=True)
    except engine_errors() as error:
        raise ClusterError(error_text(error)) from error
    finally:
        cancelled = True
