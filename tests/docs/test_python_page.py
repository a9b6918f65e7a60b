"""The page about Python, run block by block as a notebook would: one program that prints every value it shows."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.command import environment
from tests.docs.blocks import ROOT, blocks

PAGE = ROOT / "docs" / "python.md"


def program() -> str:
    """The page's blocks; of a line that is a value, the value is printed, as a notebook would show it."""
    lines = [line for block in blocks(PAGE) for line in ast.parse(block.text).body]
    shown = [f"print({ast.unparse(line)})" if isinstance(line, ast.Expr) else ast.unparse(line) for line in lines]
    return "if __name__ == '__main__':\n" + "\n".join(f"    {line}" for line in shown)


@pytest.mark.slow
def test_every_block_runs_and_nothing_else_is_said(tmp_path: Path):
    (tmp_path / "page.py").write_text(program())
    done = subprocess.run(
        [sys.executable, "page.py"], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    quality, cost, state, best, *rest = done.stdout.splitlines()
    assert quality.startswith("CoV ")
    assert cost.startswith("One training of CoV cost ")
    assert state == "finished"
    assert float(best) > 0
    assert rest[-2].endswith("report/index.html")
    assert not (tmp_path / "mlflow.db").exists(), "nothing is mirrored unless asked"
