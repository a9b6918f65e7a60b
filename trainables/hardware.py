"""Which device this process trains on, by name and identity, and what it can honestly count there."""

import ctypes
import gc
import os
import platform
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainables.task import Device


def training_device() -> torch.device:
    """The GPU that this process was given, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """The array as a tensor on the device. A GPU fetches it on its own while the program goes on."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def describe(device: torch.device) -> Device:
    """Name, UUID (GPUs only) and node of a device."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return Device(name=properties.name, uuid=str(properties.uuid), node=socket.gethostname())
    return Device(name=cpu_name(), uuid=None, node=socket.gethostname())


def cpu_name() -> str:
    """Model name of the CPU."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def reset_peak(device: torch.device) -> None:
    """Forgets the peak memory of earlier trainings in this process."""
    if device.type == "cuda":
        gc.collect()  # recorded steps hold themselves
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)  # what the process keeps is not the next training's
    with suppress(OSError):  # not Linux, or not allowed: the peak is then the process's
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes(device: torch.device) -> int:
    """Peak memory since `reset_peak`: allocated on the GPU, resident on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def energy_counter(device: torch.device, share: float) -> Callable[[], float | None]:
    """Joules used by a GPU that is held as a whole (NVML total-energy counter, by UUID); None elsewhere."""
    if device.type != "cuda" or share < 1 or os.environ.get("NVIDIA_MIG_CONFIG_DEVICES"):
        return lambda: None
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{describe(device).uuid}".encode())
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except Exception:  # no NVML, no such counter on this card, or a MIG slice: no honest figure
        return lambda: None
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000
