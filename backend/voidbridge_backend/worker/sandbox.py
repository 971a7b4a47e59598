"""Takes rights away from a worker before it reads a file from outside.

Landlock bounds the files that it may open, and TCP. A seccomp filter denies sockets and system calls that no engine
needs. Neither can be lifted. They bind threads that start afterwards, so `enter` comes before all of them.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import voidbridge_backend
import voidbridge_protocol
from voidbridge_protocol.errors import DeviceFailed

SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc", "/sys", "/nix/store")
"""Folders of the system that may be read, and whose programs may run."""
PROC = ("self", "meminfo", "cpuinfo", "stat", "version", "devices", "filesystems", "driver", "sys")
"""The parts of /proc that may be read: nothing of other processes, such as their environment."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
CACHES = ("~/.triton", "~/.nv", "~/.cache/torch")
"""Folders that compilers for a card write."""
CACHE_VARIABLES = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "CUDA_CACHE_PATH", "TORCH_HOME")
DENIED = (
    *("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp"),
    *("mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen", "unshare"),
    *("setns", "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "keyctl", "add_key"),
    *("request_key", "kexec_load", "kexec_file_load", "init_module", "finit_module"),
    *("delete_module", "open_by_handle_at", "acct", "swapon", "swapoff", "reboot", "quotactl"),
)
"""System calls that fail with EPERM. `io_uring_setup` is a way around any filter of system calls."""
MIN_TCP_ABI = 4
"""The first version of Landlock that bounds TCP (Linux 6.7)."""


@dataclass(frozen=True)
class Paths:
    """The folders and files of a worker."""

    read: tuple[Path, ...]
    write: tuple[Path, ...]


def missing() -> list[str]:
    """Returns the protections that this machine lacks, each with the reason; empty if it has all."""
    if sys.platform != "linux":
        return [f"{sys.platform} has neither Landlock nor seccomp"]
    return [reason for reason in (_without_landlock(), _without_seccomp()) if reason]


def enter(choice: str, setup: Mapping[str, object]) -> str:
    """Restricts this process and returns what holds from now on, for the log.

    `choice` is the setting `sandbox`. `setup` is the first command to the worker. Raises `DeviceFailed` if a
    sandbox is required and something of it is missing.
    """
    if choice == "off":
        return "off by the setting sandbox"
    _use_own_temporary_folder(Path(str(setup["work"])) / "tmp")
    holds, lacking = [], missing()
    if sys.platform == "linux":
        if not _without_landlock():
            holds.append(_restrict_files(paths(setup)))
        if not _without_seccomp():
            try:
                _restrict_calls(unix_sockets=not _is_cpu(setup))
                holds.append("no sockets, fewer system calls")
            except OSError as error:
                lacking.append(f"no seccomp: {error}")
    if choice == "required" and lacking:
        raise DeviceFailed(
            f"the setting sandbox is 'required': {'; '.join(lacking)}",
            "Install voidbridge[backend] and libseccomp on a kernel with Landlock, or set sandbox to 'auto'.",
        )
    return "; ".join(holds + [f"missing: {reason}" for reason in lacking])


def paths(setup: Mapping[str, object]) -> Paths:
    """Returns what the worker of this device needs: no home folder, no keys, and nothing of the job table."""
    spool = Path(str(setup["spool"]))
    ocio = str(setup.get("ocio") or os.environ.get("OCIO", ""))
    read = [
        *map(Path, SYSTEM),
        *(Path("/proc", name) for name in PROC),
        *_code(),
        *(Path(sys.prefix), Path(sys.base_prefix), Path(str(setup["models"]))),
        # The folders of the other devices' workers are read for parts of their jobs.
        *(spool / name for name in ("objects", "orders", "work")),
    ]
    if ocio and "://" not in ocio:
        read.append(Path(ocio).parent)  # a config names look-up tables beside it
    write = [Path(str(setup["work"])), *map(Path, DEVICES)]
    if not _is_cpu(setup):
        read.append(Path("/proc"))  # a driver's
        caches = [Path(cache).expanduser() for cache in CACHES]
        caches += [Path(os.environ[name]) for name in CACHE_VARIABLES if os.environ.get(name)]
        for cache in caches:
            cache.mkdir(parents=True, exist_ok=True)
        write += [*caches, Path("/dev/shm"), *Path("/dev").glob("nvidia*")]
    return Paths(_present(read), _present(write))


def _is_cpu(setup: Mapping[str, object]) -> bool:
    return str(setup["device"]).partition(":")[0] == "cpu"


def _code() -> list[Path]:
    """Returns the folders of Python code, without the working folder, in which the daemon's keys may lie."""
    packages = [
        Path(module.__file__ or "").parent for module in (voidbridge_backend, voidbridge_protocol)
    ]
    folders = [Path(entry) for entry in sys.path if entry]
    return [*packages, *(folder for folder in folders if folder.resolve() != Path.cwd())]


def _present(found: Iterable[Path]) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(path.resolve() for path in found if path.exists()))


def _use_own_temporary_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = str(folder)
    tempfile.tempdir = None


def _without_landlock() -> str:
    try:
        from py_landlock import landlock_sys
        from py_landlock.errors import LandlockError
    except ImportError:
        return "the package py-landlock is not installed"
    try:
        landlock_sys.get_abi_version()
    except LandlockError as error:
        return f"no Landlock: {error}"
    return ""


def _without_seccomp() -> str:
    try:
        import pyseccomp  # noqa: F401
    except ImportError:
        return "the package pyseccomp is not installed"
    except (OSError, RuntimeError) as error:
        return f"no seccomp: {error}"
    return ""


def _restrict_files(allowed: Paths) -> str:
    from py_landlock import AccessFs, Landlock

    ours = AccessFs.READ_FILE | AccessFs.WRITE_FILE | AccessFs.TRUNCATE | AccessFs.IOCTL_DEV
    own = AccessFs.READ_FILE | AccessFs.READ_DIR | AccessFs.WRITE_FILE | AccessFs.TRUNCATE
    # Neither links nor devices and pipes: the daemon takes files from this folder.
    own |= AccessFs.MAKE_REG | AccessFs.MAKE_DIR | AccessFs.REMOVE_FILE | AccessFs.REMOVE_DIR
    own |= AccessFs.REFER
    rules = Landlock(strict=False)
    for path in allowed.read:
        if path.is_dir():
            rules.allow_read(path)
            rules.allow_execute(path)
        else:
            rules.add_path_rule(path, access=AccessFs.READ_FILE)
    for path in allowed.write:
        if path.is_dir():
            rules.add_path_rule(path, access=own)
            if path.parts[:2] == ("/", "dev"):
                rules.add_path_rule(path, access=ours)
        else:
            rules.add_path_rule(path, access=ours)
    rules.apply()
    tcp = " and no TCP" if rules.abi_version >= MIN_TCP_ABI else ""
    return f"only its own files{tcp}"


def _restrict_calls(*, unix_sockets: bool) -> None:
    """Denies calls with EPERM. `unix_sockets`: a card's driver talks to services of its machine."""
    import pyseccomp

    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    denied = pyseccomp.ERRNO(errno.EPERM)
    for name in DENIED:
        try:
            rules.add_rule(denied, name)
        except (OSError, ValueError, RuntimeError):
            continue  # this machine has no such call
    if unix_sockets:
        others = pyseccomp.Arg(0, pyseccomp.NE, int(socket.AF_UNIX))
        rules.add_rule(denied, "socket", others)
    else:
        rules.add_rule(denied, "socket")
    rules.load()
