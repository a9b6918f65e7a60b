"""Known vulnerabilities of what is installed, by pip-audit. Fails if there is one, not if nobody could be asked."""

import json
import subprocess
import sys
from typing import Any

SECONDS = 120


def main() -> int:
    """Prints one line, and one for each vulnerability; the exit status says whether there is any."""
    command = [sys.executable, "-m", "pip_audit", "--progress-spinner", "off", "--skip-editable", "--format", "json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        packages = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        print(f"pip-audit: SKIPPED, the vulnerability service did not answer within {SECONDS} s")
        return 0
    except ValueError:
        reason = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        print(f"pip-audit: SKIPPED, the vulnerability service cannot be asked ({reason[:200]})")
        return 0
    lines, is_clean = verdict(packages)
    print("\n".join(lines))
    return 0 if is_clean else 1


def verdict(packages: list[dict[str, Any]]) -> tuple[list[str], bool]:
    """What pip-audit's `dependencies` come to: lines for a person, and whether no vulnerability is known."""
    audited = [package for package in packages if "skip_reason" not in package]
    if not audited:
        return [f"pip-audit: SKIPPED, the vulnerability service knows none of {len(packages)} packages"], True
    lines = [
        f"  {package['name']} {package['version']}: {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'none'}"
        for package in audited
        for flaw in package["vulns"]
    ]
    head = f"pip-audit: {len(audited)} of {len(packages)} packages looked up, {len(lines)} known vulnerabilities"
    return [head, *lines], not lines


if __name__ == "__main__":
    sys.exit(main())
