"""The dependency audit of CI: a known vulnerability fails it, a service that knows nothing does not."""

import runpy
from pathlib import Path

verdict = runpy.run_path(str(Path(__file__).parents[1] / ".ci" / "audit.py"))["verdict"]
SOUND = {"name": "numpy", "version": "2.4.0", "vulns": []}
FLAWED = {
    "name": "flask", "version": "0.5",
    "vulns": [{"id": "PYSEC-2019-179", "fix_versions": ["1.0"], "aliases": [], "description": ""}],
}  # fmt: skip
UNKNOWN = {"name": "ours", "skip_reason": "Dependency not found on PyPI"}


def test_a_known_vulnerability_fails_and_is_named():
    lines, is_clean = verdict([SOUND, FLAWED, UNKNOWN])
    assert not is_clean
    assert lines == [
        "pip-audit: 2 of 3 packages looked up, 1 known vulnerabilities",
        "  flask 0.5: PYSEC-2019-179, fixed in 1.0",
    ]


def test_nothing_known_passes():
    assert verdict([SOUND, UNKNOWN])[1]


def test_a_service_that_knows_no_package_is_said_to_be_skipped():
    lines, is_clean = verdict([UNKNOWN, UNKNOWN])
    assert is_clean
    assert "SKIPPED" in lines[0]
