"""Memory that a process keeps from one step to the next while it computes on the CPU."""
import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
MIB = 1 << 20


def keep_freed_memory() -> None:
    """Let glibc keep what a step frees, up to 512 MiB and blocks of 64 MiB, for the tensors of the next one.

    As it is, glibc gives most of it back, and the kernel clears and maps each page anew, which takes about a tenth of a step
    (docs/performance.md). The numbers stay the same bits. An allocator that the user has set up, by variables ``MALLOC_*`` or
    ``GLIBC_TUNABLES`` or as a library loaded first, stays as it is; so do systems without glibc.
    """
    own = any(name.startswith(('MALLOC_', 'GLIBC_TUNABLES', 'LD_PRELOAD')) for name in os.environ)
    if sys.platform == 'linux' and not own and hasattr(libc := ctypes.CDLL(None), 'mallopt'):
        libc.mallopt(M_MMAP_THRESHOLD, 64 * MIB)
        libc.mallopt(M_TRIM_THRESHOLD, 512 * MIB)
