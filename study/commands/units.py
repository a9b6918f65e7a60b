"""Times and sizes as a person reads them."""


def duration(seconds: float) -> str:
    """`0.3 s`, `45 s`, `3 min 05 s`, `2 h 10 min`, `4 d 03 h`."""
    if 0 < seconds < 0.95:
        return f"{max(seconds, 0.001):.1g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600:02d} h"


def size(num_bytes: float) -> str:
    """`512 B`, `3.4 MB`, `1.2 GB` (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"
