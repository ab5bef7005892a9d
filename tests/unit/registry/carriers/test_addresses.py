"""Where a server may send us to."""

from __future__ import annotations

import pytest

from edge_runtime.registry.carriers.addresses import is_disguised, is_loopback, is_redirect_allowed

PUBLIC, PRIVATE, LOOPBACK = "93.184.216.34", "10.1.2.3", "127.0.0.1"


@pytest.mark.parametrize(
    "inside",
    [
        *("127.0.0.1", "127.8.9.10", "169.254.169.254", "0.0.0.0", "224.0.0.1", "::1", "::", "fe80::1", "fe80::1%eth0"),
        *("ff02::1", "[::1]", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"),
        *("::127.0.0.1", "64:ff9b:1::a9fe:a9fe", "::ffff:0:127.0.0.1", "2002:7f00:1::", "fec0::1"),
    ],
)
def test_attack_28_nobody_sends_us_to_this_machine_or_its_link(inside: str) -> None:
    assert [is_redirect_allowed(inside, origin) for origin in (PUBLIC, PRIVATE, LOOPBACK, None)] == [False] * 4


@pytest.mark.parametrize("private", [PRIVATE, "192.168.0.1", "172.16.0.1", "100.64.0.1", "fd00::1", "::ffff:10.0.0.1"])
def test_attack_28_only_a_server_inside_sends_us_inside(private: str) -> None:
    found = [
        is_redirect_allowed(private, origin) for origin in (PUBLIC, "2606:2800:220:1::1", PRIVATE, "fd00::2", None)
    ]
    assert found == [False, False, True, True, True]


@pytest.mark.parametrize("origin", [PUBLIC, PRIVATE, None])
def test_everybody_may_send_us_outside(origin: str | None) -> None:
    assert is_redirect_allowed(PUBLIC, origin) is True
    assert is_redirect_allowed("2606:2800:220:1::1", origin) is True


def test_what_is_no_address_is_not_allowed() -> None:
    assert is_redirect_allowed("example.org", PUBLIC) is False


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("LocalHost", True), ("127.1.2.3", True), ("[::1]", True), (PRIVATE, False), ("host", False)],
)
def test_this_machine_is_known_by_its_spelling(host: str, expected: bool) -> None:  # noqa: FBT001
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    "host",
    [
        *("127.1", "2130706433", "0x7f000001", "0X7F.1", "0177.0.0.1", "127.0.0.1.", "169.254.169.254.", "1.2.3.4.5"),
        *("localhost.", "a.localhost", "LOCALHOST", "0x"),
    ],
)
def test_attack_28_what_others_read_as_an_address_or_this_machine_is_no_name(host: str) -> None:
    assert is_disguised(host)


@pytest.mark.parametrize(
    "host", ["example.org", "example.org.", "127.0.0.1", "[::1]", "1.example", "x0x7f", "localhost.example"]
)
def test_other_names_and_addresses_are_what_they_say(host: str) -> None:
    assert not is_disguised(host)
