"""Faults of TLS in words; those that mosquitto makes for real are in tests/integration/test_publish_tls.py."""

from __future__ import annotations

import ssl

import pytest

from edge_runtime.publish.mqtt import tls


def distrusted(code: int, message: str = "as OpenSSL says") -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return error


def broken(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "words", "mend"),
    [
        (distrusted(9), "is not valid yet", "clock of this box"),
        (distrusted(10), "has expired", "renew it"),
        (distrusted(23), "was revoked", "renew it"),
        (distrusted(19), "no authority that we trust", "mqtt.tls.ca_file"),
        (distrusted(64), "is for another name", "mqtt.host"),
        (distrusted(26), "as OpenSSL says", "openssl s_client"),
        (broken("WRONG_VERSION_NUMBER"), "does not speak TLS", "mqtt.port"),
        (broken("TLSV13_ALERT_CERTIFICATE_REQUIRED"), "wants a certificate of ours", "cert_file"),
        (broken("SSLV3_ALERT_HANDSHAKE_FAILURE"), "wants a certificate of ours", "cert_file"),
        (broken("TLSV1_ALERT_UNKNOWN_CA"), "does not accept our certificate", "authority sign"),
        (broken("TLSV1_ALERT_PROTOCOL_VERSION"), "older than 1.2", "update the broker"),
        (broken("SOMETHING_ELSE"), "SOMETHING_ELSE", "broker's log"),
    ],
)
def test_each_fault_has_words_and_a_remedy(error: ssl.SSLError, words: str, mend: str) -> None:
    found = tls.explained(error, "broker:8883")
    assert found is not None
    assert found.code == "mqtt.tls"
    assert "broker:8883" in found.message
    assert words in found.message
    assert mend in (found.help or "")


def test_a_network_that_fails_is_no_fault_of_tls() -> None:
    assert tls.explained(ConnectionResetError(), "b:1") is None
    assert tls.explained(ssl.SSLEOFError(8, "EOF"), "b:1") is None
    assert tls._reason(broken("")) == "[SSL: ]"
