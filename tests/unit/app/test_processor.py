from __future__ import annotations

import pytest

from edge_runtime.app.processor import describe_processor

X86 = "processor\t: 0\nmodel name\t: Atom x7\nflags\t\t: fpu {}\n\nprocessor\t: 1\nflags\t\t: fpu avx512_vnni\n"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("sse2", [("warn", "the processor has no AVX2"), ("warn", "no VNNI: INT8 gains 1.3 to 2 times")]),
        ("avx2", [("warn", "no VNNI: INT8 gains 1.3 to 2 times")]),
        ("avx2 avx_vnni", [("ok", "VNNI: INT8 models run at full speed")]),
        (
            "avx2 avx512_vnni amx_int8 avx512_bf16",
            [("ok", "AMX and VNNI: INT8 models run at full speed"), ("ok", "BF16 instructions")],
        ),
    ],
)
def test_what_the_instructions_mean_is_told_from_the_first_core(flags: str, told: list[tuple[str, str]]) -> None:
    first, *rest = describe_processor(X86.format(flags), 2)
    assert first.what == "2 usable cores, Atom x7"
    assert [one.level for one in rest] == [level for level, _ in told]
    assert all(one.what.startswith(words) for one, (_, words) in zip(rest, told, strict=True))
    assert all(one.mend for one in rest if one.level == "warn")


@pytest.mark.parametrize(("features", "level"), [("fp asimd", "warn"), ("fp asimd asimddp", "ok")])
def test_an_arm_processor_is_not_said_to_lack_what_intel_has(features: str, level: str) -> None:
    name, int8 = describe_processor(f"processor : 0\nFeatures : {features}\n", 4)
    assert name.what == "4 usable cores, of a name that the kernel does not tell"
    assert (int8.level, "AVX" in int8.what) == (level, False)


def test_without_cpuinfo_nothing_is_claimed() -> None:
    assert len(list(describe_processor("", 1))) == 1
