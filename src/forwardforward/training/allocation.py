"""Memory of the C library's allocator on Linux."""

from __future__ import annotations

import ctypes
import platform

__all__ = ["reuse_freed_memory"]

#: Parameters of glibc's ``mallopt``, from its header ``malloc.h``.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def reuse_freed_memory() -> bool:
    """Let the process keep the memory of freed CPU tensors for later ones, instead of returning it to the system.

    By default, glibc returns the memory of large freed tensors to the operating system. The next tensor then gets new
    pages, which the system clears one by one at their first use: with activations of several megabytes, up to a fifth
    of a step. The setting applies to the whole process, which keeps the memory until it ends: in a training about the
    peak of a step, but several times as much if ever larger tensors are created between small ones that remain. The
    command line sets it; call it once at the start of a script that trains on a CPU.

    Returns:
        Whether the setting was made: ``False`` on systems without glibc, where nothing changes.

    Example:
        >>> import forwardforward as ff
        >>> ff.training.reuse_freed_memory() in (True, False)
        True
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    # Never return free memory at the end of the heap, and allocate no tensor outside the heap.
    return bool(library.mallopt(M_TRIM_THRESHOLD, -1) and library.mallopt(M_MMAP_MAX, 0))
