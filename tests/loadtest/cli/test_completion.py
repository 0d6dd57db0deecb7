"""`hs-drill completion`: what bash then offers."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from hs_drill import __main__ as commands
from hs_drill.cli import COMMANDS

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash"),
]


@pytest.fixture(scope="module")
def script() -> str:
    with pytest.MonkeyPatch.context() as patch:
        printed: list[str] = []
        patch.setattr("builtins.print", printed.append)
        assert commands.main(["completion", "bash"]) == 0
    return printed[0]


def offered(script: str, *words: str) -> list[str]:
    """For a line that begins with these words, the last of which is being typed."""
    typed = f"COMP_WORDS=(hs-drill {' '.join(words)}) COMP_CWORD={len(words)}"
    line = f"{script}\n{typed}\n_shtab_hs_drill\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_commands_and_their_options_are_completed(script: str) -> None:
    assert offered(script, "co") == [name for name in COMMANDS if name.startswith("co")]
    assert offered(script, "cluster", "u") == ["up"]
    assert offered(script, "compare", "--fa") == ["--fail-if"]
    assert offered(script, "drills", "--cluster", "em") == ["embedded"]
    assert offered(script, "completion", "z") == ["zsh"]


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        commands.main(["completion", "fish"])
    assert "invalid choice: 'fish'" in capsys.readouterr().err
