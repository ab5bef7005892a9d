"""Preloaded into a zygote: its first fork fails as it does when there are too many processes."""

import errno
import os

_fork = os.fork
_failures = [OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))]


def _failing_fork() -> int:
    if _failures:
        raise _failures.pop()
    return _fork()


os.fork = _failing_fork
