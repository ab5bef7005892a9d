"""TLS of the broker connection: certificates that may be exchanged on disk, and what is wrong with them in words."""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING

from edge_runtime.core.errors import UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.publish.mqtt.link import TlsSettings

logger = logging.getLogger(__name__)

# X509_V_ERR_* of OpenSSL (x509_vfy.h): what a person mends differently
_NOT_YET, _EXPIRED, _REVOKED = 9, 10, 23
_UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21})
_OTHER_NAME = frozenset({62, 64})


class Certificates:
    """The TLS files of one connection: read again when they change. One thread, but ``context`` may be another one's.

    A change that cannot be used is told once; the connections go on with what was read before.
    """

    def __init__(self, settings: TlsSettings) -> None:
        """Use the files of ``settings``; nothing is read yet."""
        self._settings = settings
        self._stamp: tuple[object, ...] | None = None  # of the files that the context was made of
        self._context: ssl.SSLContext | None = None
        self._seen: tuple[object, ...] | None = None  # of the last look
        self._bad: tuple[object, ...] | None = None  # of files that were found unusable

    def context(self) -> ssl.SSLContext:
        """Return what a connection is to be made with.

        Raises:
            UnavailableError: the files are unusable, and were so from the start.
        """
        self.renewed()
        if self._context is None:
            self._load(self._look())
        assert self._context is not None  # noqa: S101 - or it was raised
        return self._context

    def renewed(self) -> bool:
        """Tell whether the files changed since they were read, and can be used; they are read then.

        A certificate and its key are two files: they are left alone until they have been the same for two calls.
        """
        stamp, seen = self._look(), self._seen
        self._seen = stamp
        if self._context is None or stamp != seen or stamp in (self._stamp, self._bad):
            return False
        try:
            self._load(stamp)
        except UnavailableError as error:
            self._bad = stamp
            logger.error("the new TLS files are not used, the connection goes on with the old ones: %s", error)  # noqa: TRY400 - it says all
            return False
        return True

    def _load(self, stamp: tuple[object, ...]) -> None:
        settings, name = self._settings, "mqtt.tls.ca_file"
        try:
            context = ssl.create_default_context(cafile=None if settings.ca is None else str(settings.ca))
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.check_hostname = settings.check_hostname
            name = "mqtt.tls.cert_file and key_file"
            if settings.cert is not None:
                context.load_cert_chain(str(settings.cert), None if settings.key is None else str(settings.key), "")
        except (OSError, ValueError) as error:
            raise _unusable(error, settings, name) from error
        self._context, self._stamp, self._bad = context, stamp, None

    def _look(self) -> tuple[object, ...]:
        return tuple(_stamp(path) for path in (self._settings.ca, self._settings.cert, self._settings.key))


def _stamp(path: Path | None) -> object:
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError as error:
        return error.errno
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def _unusable(error: OSError | ValueError, settings: TlsSettings, name: str) -> UnavailableError:
    """Say which file is wrong; OpenSSL itself names none."""
    paths = [settings.ca] if name.endswith("ca_file") else [settings.cert, settings.key]
    named = [path for path in paths if path is not None]
    for path in named:
        try:
            path.open("rb").close()
        except OSError as cause:
            message = f"{name}: {path} cannot be read: {cause.strerror}"
            return UnavailableError("mqtt.tls_file", message, help="mend the path, or give the daemon's user the right")
    what = " and ".join(str(path) for path in named)
    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        message, mend = f"{name}: the key does not belong to the certificate ({what})", "name the pair that belongs"
    else:
        message = f"{name}: {what} holds nothing that TLS can use ({_reason(error)})"
        mend = "PEM is expected, the key without a pass phrase"
    return UnavailableError("mqtt.tls_file", message, help=mend)


def explained(error: OSError, where: str) -> UnavailableError | None:
    """Return what a fault of the TLS connection to ``where`` means; ``None``: it is no such fault."""
    if isinstance(error, ssl.SSLCertVerificationError):
        message, mend = _distrusted(error)
    elif isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        message, mend = _broken(_reason(error))
    else:
        return None
    return UnavailableError("mqtt.tls", f"TLS with the broker at {where} fails: {message}", help=mend)


def _distrusted(error: ssl.SSLCertVerificationError) -> tuple[str, str]:
    code = error.verify_code
    if code == _EXPIRED:
        return "the broker's certificate has expired", "renew it at the broker, or mend the clock of this box"
    if code == _NOT_YET:
        return "the broker's certificate is not valid yet", "mend the clock of this box"
    if code == _REVOKED:
        return "the broker's certificate was revoked", "renew it at the broker"
    if code in _UNKNOWN_AUTHORITY:
        return (
            f"no authority that we trust signed the broker's certificate ({error.verify_message})",
            "name the file of the broker's authority in mqtt.tls.ca_file",
        )
    if code in _OTHER_NAME:
        return (
            f"the broker's certificate is for another name ({error.verify_message})",
            "write the name of the certificate in mqtt.host, or make one for this name",
        )
    return error.verify_message, "look at the broker's certificate with  openssl s_client -showcerts"


def _broken(reason: str) -> tuple[str, str]:
    if "WRONG_VERSION_NUMBER" in reason or "HTTP_REQUEST" in reason or "RECORD_LAYER" in reason:
        return "what answers there does not speak TLS", "mend mqtt.port, or leave mqtt.tls out"
    if "CERTIFICATE_REQUIRED" in reason or ("HANDSHAKE_FAILURE" in reason and "ALERT" in reason):
        return (
            f"the broker wants a certificate of ours ({reason})",
            "name it in mqtt.tls.cert_file and mqtt.tls.key_file",
        )
    if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
        return (
            f"the broker does not accept our certificate ({reason})",
            "have the broker's authority sign mqtt.tls.cert_file, and look whether it has expired",
        )
    if "PROTOCOL_VERSION" in reason or "UNSUPPORTED_PROTOCOL" in reason:
        return f"the broker's TLS is older than 1.2 ({reason})", "update the broker"
    return reason, "look at the broker's log"


def _reason(error: Exception) -> str:
    reason = error.reason if isinstance(error, ssl.SSLError) else None
    return reason or str(error)
