"""Follows docs/tutorial.md word for word: its files, its commands, its servers, in the order of the page.

    python tests/docs/tutorial.py          # in a fresh virtual environment of a copy of the sources; takes minutes

Needs markdown-it-py, which the development environment has.
"""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.docs.blocks import ROOT, Block, blocks

TUTORIAL = ROOT / "docs" / "tutorial.md"
UNTIL_UP = """
set -m
{command} &
server=$!
set +m
until (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null; do
  kill -0 "$server"
  sleep 0.5
done
kill -INT -- "-$server"
wait "$server" || true
"""


def script(*, leave_out: tuple[str, ...] = ()) -> str:
    """The tutorial as a bash script; blocks whose marker is in `leave_out` are not in it."""
    steps = [_step(block) for block in blocks(TUTORIAL) if block.marker not in leave_out]
    return "\n".join(["set -euo pipefail", *filter(None, steps)])


def _step(block: Block) -> str | None:
    told = f"echo {shlex.quote(f'### {block.where}')}\n"
    if block.title:
        return f"{told}cat > {shlex.quote(block.title)} <<'END OF FILE'\n{block.text}END OF FILE"
    if block.language != "bash":
        return None
    if block.marker == "stays up":
        return told + UNTIL_UP.format(command=block.text.strip(), port=int(block.note))
    return told + block.text


def sources(folder: Path) -> Path:
    """A copy of the files that git knows, as a fresh clone has them."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in listed.split("\0"):
        if name and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder


def main() -> int:
    """Follows it as somebody who has nothing but a clone."""
    with tempfile.TemporaryDirectory(prefix="tutorial-") as name:
        home = Path(name) / "home"
        home.mkdir()
        clone = sources(Path(name) / "cov-study")
        foreign = ("VIRTUAL_ENV", "PYTHON", "MLFLOW_")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
        kept.setdefault(
            "PIP_CONFIG_FILE", str(Path.home() / ".config" / "pip" / "pip.conf")
        )  # where packages come from
        return subprocess.run(["bash", "-c", script()], cwd=clone, env=kept | {"HOME": str(home)}).returncode


if __name__ == "__main__":
    sys.exit(main())
