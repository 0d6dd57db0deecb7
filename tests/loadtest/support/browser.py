"""A headless Chromium for tests of pages, and just enough of PNG to look at what it has drawn."""

from __future__ import annotations

import os
import shutil
import subprocess
import zlib
from pathlib import Path

from tests.support.patience import patience

NAMES = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 60


class Browser:
    """Opens pages, files of this machine or addresses, each in a fresh process. `size` is that of the window, in pixels."""

    def __init__(self, program: str, folder: Path, size: tuple[int, int] = (1240, 1400)) -> None:
        self._folder = folder
        self._command = [program, "--headless", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1"]
        self._command += [f"--user-data-dir={folder / 'profile'}", f"--window-size={size[0]},{size[1]}", "--lang=en"]
        if os.geteuid() == 0:
            self._command.append("--no-sandbox")  # it refuses to run as root otherwise

    @classmethod
    def find(cls, folder: Path) -> Browser | None:
        program = next((found for name in NAMES if (found := shutil.which(name))), None)
        return None if program is None else cls(program, folder)

    def dom(self, page: Path | str, *options: str) -> str:
        """The page as it is after its scripts have run."""
        return self._run("--dump-dom", *options, _address(page))

    def picture(self, page: Path | str, *options: str) -> Picture:
        """What is to be seen of the page's beginning."""
        file = self._folder / "picture.png"
        file.unlink(missing_ok=True)  # Chromium does not always say that it took none
        self._run(f"--screenshot={file}", *options, _address(page))
        return Picture(file.read_bytes())

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._command, *arguments], capture_output=True, text=True, timeout=patience(SECONDS), check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def _address(page: Path | str) -> str:
    return page if isinstance(page, str) else page.as_uri()


class Picture:
    """A PNG of 8 bits per channel, which is what Chromium writes."""

    def __init__(self, data: bytes) -> None:
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        at, packed = 8, b""
        while at < len(data):
            length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
            content = data[at + 8 : at + 8 + length]
            if kind == b"IHDR":
                self.width, self.height = int.from_bytes(content[:4], "big"), int.from_bytes(content[4:8], "big")
                depth, colour, _, _, interlaced = content[8:13]
                assert (depth, interlaced) == (8, 0)
                self._channels = {2: 3, 6: 4}[colour]
            elif kind == b"IDAT":
                packed += content
            at += length + 12
        self._data = zlib.decompress(packed)

    def row(self, y: int) -> list[tuple[int, ...]]:
        """The colours of a line: red, green and blue."""
        line = self._unfilter(y)
        return [tuple(line[x : x + 3]) for x in range(0, len(line), self._channels)]

    def _unfilter(self, y: int) -> bytearray:
        """Each line but the first builds on the one above."""
        step, length = self._channels, self._channels * self.width
        line = bytearray(length)
        for start in range(0, (y + 1) * (length + 1), length + 1):
            above, line = line, bytearray(self._data[start + 1 : start + 1 + length])
            match self._data[start]:
                case 1:
                    for i in range(step, length):
                        line[i] = (line[i] + line[i - step]) & 255
                case 2:
                    line = bytearray((a + b) & 255 for a, b in zip(line, above, strict=True))
                case 3:
                    for i in range(length):
                        line[i] = (line[i] + ((line[i - step] if i >= step else 0) + above[i]) // 2) & 255
                case 4:
                    for i in range(length):
                        left, corner = (line[i - step], above[i - step]) if i >= step else (0, 0)
                        line[i] = (line[i] + _paeth(left, above[i], corner)) & 255
        return line


def _paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    return min((left, up, corner), key=lambda one: abs(guess - one))
