"""CPUs that a process may use: real affinity, a real control group if one can be made, made-up trees of both kinds."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from trainables.cpus import usable_cpus

ASK = "from trainables.cpus import usable_cpus; print(usable_cpus())"
CPUS = len(os.sched_getaffinity(0))
V1, V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")


def asked(*prefix: str) -> int:
    """What a process that is started under `prefix` may use."""
    done = subprocess.run([*prefix, sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_a_process_bound_to_one_cpu_may_use_one():
    assert asked("taskset", "-c", str(min(os.sched_getaffinity(0)))) == 1


@pytest.mark.skipif(CPUS < 2, reason="one CPU")
@pytest.mark.parametrize("nested", [False, True])
def test_a_real_quota_is_kept_also_that_of_a_group_above(nested):
    base = V1 if V1.exists() else V2
    group = base / f"cov-study-{os.getpid()}"
    inner = group / "inner" if nested else group
    try:
        inner.mkdir(parents=True)
        if base is V1:
            (group / "cpu.cfs_quota_us").write_text("150000")
        else:
            (group / "cpu.max").write_text("150000 100000")
    except OSError as error:
        with suppress(OSError):
            inner.rmdir()
        pytest.skip(f"no control group can be made here: {error}")
    try:
        assert asked("sh", "-c", f'echo $$ > {inner}/cgroup.procs; exec "$@"', "sh") == 1
    finally:
        for folder in dict.fromkeys((inner, group)):
            folder.rmdir()


def tree(root: Path, groups: str, mounts: list[str], files: dict[str, str]) -> Path:
    """A file system with the control groups of a process."""
    lines = {"proc/self/cgroup": groups, "proc/self/mountinfo": "".join(f"{line}\n" for line in mounts)}
    for name, text in (lines | files).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


UNIFIED = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1_CPU = "33 32 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct"
JOB = "system.slice/slurmstepd.scope/job_7"


def first(group: str, quota: int) -> dict[str, str]:
    """Files of a group of version 1."""
    folder = f"sys/fs/cgroup/cpu,cpuacct{group}"
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": "100000\n"}


def second(*quotas: tuple[str, str]) -> dict[str, str]:
    """Files of groups of version 2."""
    return {f"sys/fs/cgroup/{group}/cpu.max": f"{quota} 100000\n" for group, quota in quotas}


@pytest.mark.parametrize(
    ("groups", "mounts", "files", "expected"),
    [
        # A container: its own group is the root that it sees.
        ("0::/\n", [UNIFIED], second(("", "300000")), 3),
        ("0::/\n", [UNIFIED], second(("", "max")), 64),
        # A job: the limit is on a group above, or lower there than its own.
        (f"0::/{JOB}/step_0\n", [UNIFIED], second((JOB, "250000"), (f"{JOB}/step_0", "max")), 2),
        (f"0::/{JOB}\n", [UNIFIED], second((JOB, "800000"), ("system.slice", "500000")), 5),
        ("0::/../elsewhere\n", [UNIFIED], second(("", "200000")), 2),
        # Version 1, beside an empty tree of version 2; and a container that is told its path outside.
        ("4:cpu,cpuacct:/a\n0::/\n", [V1_CPU, UNIFIED.replace("cgroup rw", "unified rw")], first("/a", 400000), 4),
        ("4:cpu,cpuacct:/docker/abc\n", [V1_CPU.replace("0:30 /", "0:30 /docker/abc")], first("", 50000), 1),
        ("4:cpu,cpuacct:/\n", [V1_CPU], first("", -1), 64),
        ("", [], {}, 64),
    ],
)
def test_every_kind_of_quota_is_read(tmp_path, monkeypatch, groups, mounts, files, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    assert usable_cpus(tree(tmp_path, groups, mounts, files)) == expected
