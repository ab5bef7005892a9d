"""Who is told the registry's password."""

from __future__ import annotations

import pytest

from edge_runtime.registry.carriers.access import Access, for_mirror

REGISTRY = "oci://registry.example:5000/fleet"
ROBOT = Access(username="robot", password="hunter22", realm_hosts=("twin.example", "other.example:5001"))


@pytest.mark.parametrize(
    ("mirror", "told"),
    [
        (REGISTRY, True),
        ("oci://registry.example:5001/fleet", True),
        ("https://registry.example/files", True),
        ("oci://twin.example/fleet", True),
        ("oci://other.example:5001/fleet", True),
        ("oci://other.example:5002/fleet", False),
        ("oci://cache.plant.example/fleet", False),
        ("https://registry.example.thief.example/", False),
        ("oci-layout:/media/usb", True),  # nobody is told anything there
    ],
)
def test_a_mirror_is_told_the_password_only_if_its_host_may_be(mirror: str, told: bool) -> None:  # noqa: FBT001
    found = for_mirror(ROBOT, REGISTRY, mirror)
    assert (found.username, found.password) == (("robot", "hunter22") if told else (None, None))
    assert found.realm_hosts == ROBOT.realm_hosts


def test_who_has_no_password_has_none_for_a_mirror() -> None:
    assert for_mirror(Access(), REGISTRY, "oci://cache.plant.example/fleet") == Access()
