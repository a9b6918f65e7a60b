"""No test gives up on a machine that is merely busy: every wait has the one long deadline of `tests.waiting`."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_SECONDS, wait_for

TESTS = Path(__file__).parent
SHORTEST_SECONDS = 300
NAMES = {"timeout", "seconds", "deadline", "timeout_seconds"}
"""Of arguments that are deadlines, but for `seconds` that are slept."""
WAITS = {"wait", "wait_procs", "join", "result", "communicate", "acquire", "timeout", "settimeout", "implicitly_wait"}
"""Functions whose first number is one."""
CLOCKS = {"monotonic", "perf_counter", "time"}
MARKER = "# no deadline:"
"""On a line where a short limit is what is tested, or nothing fails after it; the reason follows."""


def name_of(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def is_short(node: ast.AST | None) -> bool:
    number = node.value if isinstance(node, ast.Constant) else None
    return isinstance(number, int | float) and not isinstance(number, bool) and number < SHORTEST_SECONDS


def reads_clock(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and name_of(node.func) in CLOCKS and not node.args


def deadlines(node: ast.AST) -> bool:
    """Whether this node sets a short deadline: an argument, a default, a sum with a clock, a number of naps."""
    match node:
        case ast.Call():
            by_name = any(keyword.arg in NAMES and is_short(keyword.value) for keyword in node.keywords)
            return by_name or (name_of(node.func) in WAITS and any(is_short(argument) for argument in node.args))
        case ast.FunctionDef():
            defaults = [*zip(node.args.args[::-1], node.args.defaults[::-1], strict=False)]
            defaults += zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            return any(argument.arg in NAMES and is_short(default) for argument, default in defaults)
        case ast.BinOp(op=ast.Add()):
            pairs = ((node.left, node.right), (node.right, node.left))
            return any(reads_clock(clock) and is_short(seconds) for clock, seconds in pairs)
        case ast.Compare(left=ast.BinOp(op=ast.Sub())):
            return reads_clock(node.left.left) and any(is_short(bound) for bound in node.comparators)
        case ast.For(iter=ast.Call()) if name_of(node.iter.func) == "range":
            naps = any(isinstance(part, ast.Call) and name_of(part.func) == "sleep" for part in ast.walk(node))
            gives_up = any(isinstance(part, ast.Return | ast.Break) for part in ast.walk(node))
            return naps and gives_up and any(isinstance(number, ast.Constant) for number in node.iter.args)
    return False


def short_deadlines(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if deadlines(node) and not any(MARKER in line for line in lines[node.lineno - 1 : node.end_lineno]):
            yield f"{path.name}:{node.lineno}: {lines[node.lineno - 1].strip()}"


def test_no_test_has_a_short_deadline():
    files = [path for path in TESTS.rglob("*.py") if not path.name.startswith("bench_")]
    found = [line for path in files for line in short_deadlines(path)]
    assert not found, "wait with tests.waiting, or say why after `# no deadline:`\n" + "\n".join(found)


@pytest.mark.parametrize(
    "code",
    [
        "subprocess.run(command, timeout=60)",
        "process.wait(30)",
        "pytest.mark.timeout(60)",
        "def wait_until(condition, seconds=60): pass",
        "def run(*arguments, timeout: float = 120): pass",
        "until = time.monotonic() + 20",
        "assert time.perf_counter() - start < 3",
        "def up():\n for _ in range(100):\n  if answers(): return\n  time.sleep(0.1)",
        "settings(deadline=200)",
    ],
)
def test_a_short_deadline_is_found(tmp_path, code):
    file = tmp_path / "test_hasty.py"
    file.write_text(code)
    assert len(list(short_deadlines(file))) == 1
    file.write_text(f"{code}  # no deadline: the limit is what is tested")
    assert not list(short_deadlines(file))


@pytest.mark.parametrize(
    "code",
    ["settings(deadline=None)", "wait(timeout=PATIENCE_SECONDS)", "', '.join(names)", "run(timeout=900)", "f(True)"],
)
def test_what_is_no_short_deadline_is_left_alone(tmp_path, code):
    file = tmp_path / "test_patient.py"
    file.write_text(code)
    assert not list(short_deadlines(file))


def test_a_whole_test_has_more_time_than_one_wait():
    options = tomllib.loads((TESTS.parent / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert options["timeout"] >= 2 * PATIENCE_SECONDS


def test_a_wait_ends_with_the_process_it_waits_for_and_shows_its_log(tmp_path):
    log = tmp_path / "log"
    with log.open("w") as file:
        process = subprocess.Popen([sys.executable, "-c", "import sys; sys.exit('no disk')"], stderr=file)
    with pytest.raises(AssertionError, match=r"(?s)no server: no disk.*ended with 1"):
        wait_for(lambda: False, process, "no server", log=log)
    wait_for(lambda: True, process)
