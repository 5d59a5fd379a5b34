"""How the process handles memory that is freed."""

import ctypes
import os
import platform

# Numbers of parameters in glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_USERS_OWN = (
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_ARENA_MAX",
    "GLIBC_TUNABLES",
)


def keep_freed_memory() -> bool:
    """Makes the process keep the memory of freed large arrays and reuse it for the next ones.

    By default, Linux maps the memory of every large array again, page by page, and gets it back when the array is
    freed. For a batch of images of 256 pixels, this takes several times as long as their conversion to floats. The
    command `keras-a2i` calls this function at its start; in your own program, call it before TensorFlow computes
    anything. The memory of the process then stays at its peak until it ends.

    Returns:
        Whether the setting was changed. Nothing is changed if the C library isn't glibc (macOS, Windows, Alpine Linux),
        or if the user has set an environment variable such as MALLOC_MMAP_MAX_.

    Reference:
        The GNU C Library manual, section "Malloc Tunable Parameters".
    """
    is_glibc = platform.system() == "Linux" and platform.libc_ver()[0] == "glibc"
    if not is_glibc or any(name in os.environ for name in _USERS_OWN):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # -1 is the largest threshold: nothing is returned to the system. In one arena, threads find what others have freed.
    return all([mallopt(_MMAP_MAX, 0), mallopt(_TRIM_THRESHOLD, -1), mallopt(_ARENA_MAX, 1)])
