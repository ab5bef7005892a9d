"""A box is a directory tree here: one for each way in which a GPU or an NPU is not usable."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.app.accelerators import Box, why_no_gpu, why_no_npu

if TYPE_CHECKING:
    from pathlib import Path

GPU = {"sys/bus/pci/devices/0000:00:02.0/vendor": "0x8086\n", "sys/bus/pci/devices/0000:00:02.0/class": "0x030000\n"}
NPU = {"sys/bus/pci/devices/0000:00:0b.0/vendor": "0x8086\n", "sys/bus/pci/devices/0000:00:0b.0/class": "0x120000\n"}
RADEON = {"sys/bus/pci/devices/0000:03:00.0/vendor": "0x1002\n", "sys/bus/pci/devices/0000:03:00.0/class": "0x030000\n"}
RENDER, ACCEL = {"dev/dri/renderD128": ""}, {"dev/accel/accel0": ""}
OPENCL, ICD = {"usr/lib/x86_64-linux-gnu/libOpenCL.so.1": ""}, {"etc/OpenCL/vendors/intel.icd": ""}
MODULE, FIRMWARE = {"sys/module/intel_vpu/refcnt": "1"}, {"lib/firmware/intel/vpu/vpu_37xx_v1.bin.zst": ""}
LOADER, DRIVER = {"usr/lib/libze_loader.so.1": ""}, {"usr/lib/libze_intel_npu.so.1": ""}
COMPILER = {"usr/lib/libnpu_driver_compiler.so": ""}


def box(root: Path, *files: dict[str, str], usable: bool = True, release: str = "6.8.0-45-generic") -> Box:
    for name, content in {path: text for some in files for path, text in some.items()}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return Box(root, release, "operator", lambda _: usable)


@pytest.mark.parametrize(
    ("files", "usable", "level", "what", "mend"),
    [
        ([], True, "ok", "this box shows no Intel graphics", ""),
        ([RADEON], True, "ok", "this box shows no Intel graphics", ""),
        ([GPU], True, "warn", "no /dev/dri/renderD*", "sudo modprobe i915 || sudo modprobe xe"),
        ([GPU, RENDER], False, "warn", "operator may not open /dev/dri/renderD128", "sudo usermod -aG"),
        ([GPU, RENDER], True, "warn", "the OpenCL loader is not installed", "sudo apt install ocl-icd-libopencl1"),
        ([RENDER, OPENCL], True, "warn", "OpenCL driver is not installed", "sudo apt install intel-opencl-icd"),
        ([RENDER, OPENCL, ICD], True, "warn", "too old for this GPU", "newer than 22.43"),
    ],
)
def test_each_way_of_having_no_gpu_has_its_reason_and_its_command(
    tmp_path: Path,
    files: list[Any],
    usable: bool,  # noqa: FBT001 - a parameter of the test
    level: str,
    what: str,
    mend: str,
) -> None:
    here = box(tmp_path, *files, usable=usable)
    _owned_by_a_group(tmp_path)
    finding = why_no_gpu(here)
    assert finding.level == level
    assert what in finding.what
    assert mend in finding.mend


@pytest.mark.parametrize(
    ("files", "usable", "level", "what", "mend"),
    [
        ([GPU], True, "ok", "this box shows none", ""),
        ([NPU], True, "warn", "intel_vpu is not loaded", "sudo modprobe intel_vpu"),
        ([NPU, MODULE], True, "warn", "firmware is not installed", "sudo apt install ./intel-fw-npu_*.deb"),
        ([NPU, MODULE, FIRMWARE], True, "warn", "made no /dev/accel", "sudo dmesg | grep intel_vpu"),
        ([NPU, ACCEL], False, "warn", "operator may not open /dev/accel/accel0", "sudo usermod -aG"),
        ([NPU, ACCEL], True, "warn", "the Level Zero loader is not installed", "sudo apt install libze1"),
        ([ACCEL, LOADER], True, "warn", "the driver is not installed", "./intel-level-zero-npu_*.deb"),
        ([ACCEL, LOADER, DRIVER], True, "warn", "the compiler is not installed", "./intel-driver-compiler-npu_*.deb"),
        ([ACCEL, LOADER, DRIVER, COMPILER], True, "warn", "their versions do not fit", "all of the same"),
    ],
)
def test_each_way_of_having_no_npu_has_its_reason_and_its_command(
    tmp_path: Path,
    files: list[Any],
    usable: bool,  # noqa: FBT001 - a parameter of the test
    level: str,
    what: str,
    mend: str,
) -> None:
    here = box(tmp_path, *files, usable=usable)
    _owned_by_a_group(tmp_path)
    finding = why_no_npu(here)
    assert finding.level == level
    assert what in finding.what
    assert mend in finding.mend


@pytest.mark.parametrize(("release", "old"), [("6.1.0-18-amd64", True), ("6.8.0", False), ("6.12.1-arch1", False)])
def test_a_kernel_without_a_driver_for_the_npu_is_too_old(tmp_path: Path, release: str, old: bool) -> None:  # noqa: FBT001 - a parameter of the test
    finding = why_no_npu(box(tmp_path, NPU, release=release))
    assert ("6.8 or newer has" in finding.what) is old


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
@pytest.mark.parametrize(
    ("group", "mend"), [(0, 'GROUP="render"'), (54321, "start the container with --group-add 54321")]
)
def test_a_node_of_root_needs_a_rule_and_one_of_a_nameless_group_a_number(
    tmp_path: Path, group: int, mend: str
) -> None:
    here = box(tmp_path, ACCEL, usable=False)
    os.chown(tmp_path / "dev/accel/accel0", 0, group)
    assert mend in why_no_npu(here).mend


def _owned_by_a_group(root: Path) -> None:
    """What root makes belongs to the group 0, which is a case of its own; others have a group with a name."""
    if os.getuid() == 0:
        for node in root.glob("dev/*/*"):
            os.chown(node, 0, 1)
