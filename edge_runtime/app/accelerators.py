"""Why OpenVINO does not see the GPU or the NPU of this box, and the command that mends it.

Everything is read from files: what hardware there is (PCI), what the kernel made of it (device nodes, modules), who may
use it, and which parts of the driver are installed. Sources: the accel subsystem of Linux and its ``intel_vpu`` (usable
from 6.8), the install notes of Intel's compute-runtime and linux-npu-driver, class codes of the PCI ID repository.
"""

from __future__ import annotations

import grp
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_runtime.app.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

INTEL: Final = "0x8086"
DISPLAY_CLASS, NPU_CLASS = "0x03", "0x1200"  # how PCI class codes of displays and of processing accelerators begin
NPU_KERNEL: Final = (6, 8)
_LIBRARIES: Final = ("usr/lib", "usr/lib64", "usr/local/lib", "lib", "opt/intel")
_FIRMWARE: Final = ("lib/firmware/intel/vpu", "lib/firmware/updates/intel/vpu", "usr/lib/firmware/intel/vpu")
_NPU_PARTS: Final = (
    ("libze_loader.so*", "the Level Zero loader", "sudo apt install libze1"),
    ("libze_intel_[nv]pu.so*", "the driver", "sudo apt install ./intel-level-zero-npu_*.deb"),
    ("libnpu_driver_compiler.so*", "the compiler", "sudo apt install ./intel-driver-compiler-npu_*.deb"),
)
_NPU_RELEASE: Final = "from a release of intel/linux-npu-driver"
_GPU_PARTS: Final = (("libOpenCL.so.1*", "the OpenCL loader", "sudo apt install ocl-icd-libopencl1"),)
_AGAIN: Final = "log in again, or restart the service"


def _may_use(path: Path) -> bool:
    return os.access(path, os.R_OK | os.W_OK)


@dataclass(frozen=True, slots=True)
class Box:
    """Where to look; another ``root`` than the real one is for tests.

    Attributes:
        root: directory that stands for ``/``.
        release: of the kernel, like ``6.8.0-45-generic``.
        user: who runs the product.
        may_use: tells whether this process may read and write a device node.
    """

    root: Path = Path("/")
    release: str = field(default_factory=lambda: os.uname().release)
    user: str = field(default_factory=lambda: os.environ.get("USER", "edge-runtime"))
    may_use: Callable[[Path], bool] = _may_use

    def has_pci(self, class_prefix: str) -> bool:
        """Tell whether there is an Intel device of that class on the PCI bus."""
        return any(
            _text(device / "vendor") == INTEL and _text(device / "class").startswith(class_prefix)
            for device in self.root.glob("sys/bus/pci/devices/*")
        )

    def nodes(self, pattern: str) -> list[Path]:
        """Return the device nodes below ``/dev`` that match."""
        return sorted(self.root.glob(f"dev/{pattern}"))

    def has_library(self, pattern: str) -> bool:
        """Tell whether a shared library is where the loader looks for it."""
        places = [self.root / place for place in _LIBRARIES]
        return any(next(place.glob(f"{deep}{pattern}"), None) for place in places for deep in ("", "*/"))

    def has_module(self, name: str) -> bool:
        """Tell whether a kernel module is loaded or built in."""
        return (self.root / "sys/module" / name).exists()

    def shown(self, path: Path) -> str:
        """Return ``path`` as it is on the box."""
        return f"/{path.relative_to(self.root)}"


def why_no_gpu(box: Box) -> Finding:
    """Return why OpenVINO sees no GPU."""
    nodes = box.nodes("dri/renderD*")
    if not nodes and not box.has_pci(DISPLAY_CLASS):
        return Finding("ok", "no GPU: this box shows no Intel graphics (PCI); a virtual machine must be given one")
    if not nodes:
        mend = "sudo modprobe i915 || sudo modprobe xe; in a container: --device /dev/dri"
        return Finding("warn", "the GPU cannot be used: there is Intel graphics, and no /dev/dri/renderD*", mend)
    for problem in (*_access(box, "GPU", nodes), *_parts(box, "GPU", _GPU_PARTS)):
        return problem
    if not list(box.root.glob("etc/OpenCL/vendors/*intel*.icd")):
        what = "the GPU cannot be used: its OpenCL driver is not installed (/etc/OpenCL/vendors)"
        return Finding("warn", what, "sudo apt install intel-opencl-icd")
    what = "the GPU cannot be used: its driver is installed and OpenVINO sees no device, so it is too old for this GPU"
    mend = "sudo apt install --upgrade intel-opencl-icd (Core Ultra: newer than 22.43, from Debian 13 or Intel)"
    return Finding("warn", what, mend)


def why_no_npu(box: Box) -> Finding:
    """Return why OpenVINO sees no NPU."""
    nodes = box.nodes("accel/accel*")
    if not nodes and not box.has_pci(NPU_CLASS):
        return Finding("ok", "no NPU: this box shows none (PCI); processors before Core Ultra have none")
    if not nodes:
        return _no_accel(box)
    for problem in (*_access(box, "NPU", nodes), *_parts(box, "NPU", _NPU_PARTS)):
        return problem
    what = "the NPU cannot be used: its driver is installed and OpenVINO sees no device, so their versions do not fit"
    parts = "./intel-fw-npu_*.deb ./intel-driver-compiler-npu_*.deb ./intel-level-zero-npu_*.deb"
    return Finding("warn", what, f"sudo apt install {parts} ({_NPU_RELEASE}, all of the same)")


def _no_accel(box: Box) -> Finding:
    """There is an NPU, and the kernel offers no /dev/accel."""
    version = tuple(map(int, re.findall(r"\d+", box.release)[:2]))
    if version < NPU_KERNEL:
        what = f"the NPU cannot be used: kernel {box.release} has no driver for it, 6.8 or newer has"
        return Finding("warn", what, "sudo apt install linux-generic-hwe-24.04 (Debian: linux-image-amd64 of 13)")
    if not box.has_module("intel_vpu"):
        what = "the NPU cannot be used: there is no /dev/accel, the kernel module intel_vpu is not loaded"
        return Finding("warn", what, "sudo modprobe intel_vpu; in a container: --device /dev/accel")
    if not any(next((box.root / place).glob("*.bin*"), None) for place in _FIRMWARE):
        what = "the NPU cannot be used: its firmware is not installed (/lib/firmware/intel/vpu)"
        reload = "sudo modprobe -r intel_vpu && sudo modprobe intel_vpu"
        mend = f"sudo apt install ./intel-fw-npu_*.deb && {reload} ({_NPU_RELEASE})"
        return Finding("warn", what, mend)
    what = "the NPU cannot be used: intel_vpu is loaded and made no /dev/accel"
    return Finding("warn", what, "sudo dmesg | grep intel_vpu; in a container: --device /dev/accel")


def _access(box: Box, name: str, nodes: list[Path]) -> Iterator[Finding]:
    if any(map(box.may_use, nodes)):
        return
    node, group = nodes[0], nodes[0].stat().st_gid
    shown = box.shown(node)
    if group == 0:
        rule = f'SUBSYSTEM=="{node.parent.name}", GROUP="render", MODE="0660"'
        place = f"/etc/udev/rules.d/60-{node.parent.name}.rules"
        mend = f"echo '{rule}' | sudo tee {place} && sudo udevadm control --reload && sudo udevadm trigger"
        yield Finding("warn", f"the {name} cannot be used: {shown} belongs to root alone", mend)
        return
    try:
        mend = f"sudo usermod -aG {grp.getgrgid(group).gr_name} {box.user}, then {_AGAIN}"
    except KeyError:  # as in a container, which has groups of its own
        mend = f"start the container with --group-add {group}"
    yield Finding("warn", f"the {name} cannot be used: {box.user} may not open {shown}", mend)


def _parts(box: Box, name: str, parts: tuple[tuple[str, str, str], ...]) -> Iterator[Finding]:
    for pattern, part, mend in parts:
        if not box.has_library(pattern):
            source = f" ({_NPU_RELEASE})" if "./" in mend else ""
            missing = pattern.replace("[nv]", "n").replace("*", "")
            yield Finding("warn", f"the {name} cannot be used: {part} is not installed ({missing})", mend + source)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
