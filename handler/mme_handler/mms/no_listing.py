"""Keeps MMS's Java from listing directories, so that starting a launcher stays cheap.

Between fork and exec, Java closes all descriptors in the child. It lists ``/proc/self/fd`` for
that, at some 10 microseconds an entry, and MMS holds two descriptors for each loaded model: with
2,500 models, starting a launcher took 34 ms, of 4 with few (and left 5,000 entries of ``/proc`` in
the kernel's memory, for each launcher). When it cannot list the directory, it closes every number
up to its limit instead, at 0.2 microseconds each. So opening a directory fails in Java, and its
limit is kept a little above what it needs.

MMS itself lists only a model's directory, to look for the manifest of its 0.x archives, and takes
a directory that it cannot list for one that has none.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
from collections.abc import Callable
from typing import Final

_SPARE: Final = 4096  # descriptors beside those for models: clients, and loads under way

_PR_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_SET_MODE_FILTER: Final = 1
_SECCOMP_FILTER_FLAG_SPEC_ALLOW: Final = 4
# By machine: AUDIT_ARCH, and the numbers of openat and seccomp.
_MACHINES: Final = {"x86_64": (0xC000003E, 257, 317), "aarch64": (0xC00000B7, 56, 277)}

# Classic BPF: load a word of seccomp_data, jump if equal, jump if any bit is set, return.
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER, _ARCH, _FLAGS = 0, 4, 32  # offsets: system call, machine, third argument
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000 | errno.EACCES


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("if_true", ctypes.c_ubyte),
        ("if_false", ctypes.c_ubyte),
        ("value", ctypes.c_uint),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.POINTER(_Instruction)))


def no_listing() -> Callable[[], None]:
    """Return what a child process calls before its exec; it does what it can and never fails.

    Where seccomp is not to be had, launchers start as slowly as they would without.
    """
    libc = ctypes.CDLL(None)
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return lambda: None
    arch, openat, seccomp = machine
    instructions = (_Instruction * 8)(
        _Instruction(_LOAD, 0, 0, _ARCH),
        _Instruction(_EQUAL, 0, 5, arch),
        _Instruction(_LOAD, 0, 0, _NUMBER),
        _Instruction(_EQUAL, 0, 3, openat),
        _Instruction(_LOAD, 0, 0, _FLAGS),
        _Instruction(_ANY_BIT, 0, 1, os.O_DIRECTORY),
        _Instruction(_RETURN, 0, 0, _FAIL),
        _Instruction(_RETURN, 0, 0, _ALLOW),
    )
    program = _Program(len(instructions), instructions)

    def confine() -> None:
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.syscall(
            seccomp,
            _SECCOMP_SET_MODE_FILTER,
            _SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            ctypes.byref(program),
        )

    return confine


def limit_descriptors(pid: int, models: int) -> None:
    """Let the Java process `pid` open what it needs for `models` models, and not much more."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    needed = max(_SPARE, 1 << (2 * models + _SPARE // 2).bit_length())
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if wanted != soft:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (wanted, hard))
