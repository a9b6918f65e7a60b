"""What a process that trains asks of its memory."""

import platform
import resource

import pytest
import torch

from trainables.hardware import peak_bytes, reset_peak
from trainables.startup import ready_process

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such options")
CPU = torch.device("cpu")
MEBIBYTE = 2**20


def blocks(number=4):
    """Blocks of 24 MiB each, written to."""
    return [torch.ones(6 * MEBIBYTE) for _ in range(number)]


@pytest.fixture(autouse=True)
def ready():
    threads = torch.get_num_threads()
    ready_process(1)
    assert torch.get_num_threads() == 1
    yield
    torch.set_num_threads(threads)


def test_memory_that_was_used_once_is_not_taken_from_the_system_again():
    for _ in range(5):  # until the heap has found its size
        blocks()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        blocks()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert faults * resource.getpagesize() < 24 * MEBIBYTE, "of 288 MiB that were written"


def test_what_a_process_keeps_is_not_the_next_trainings_peak():
    held = blocks()
    del held
    with_memory_kept = peak_bytes(CPU)
    reset_peak(CPU)
    assert peak_bytes(CPU) < with_memory_kept - 72 * MEBIBYTE
