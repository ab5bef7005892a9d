"""The second lock: with ``publisher_keys`` a box takes only releases that one of these keys has signed as well.

The Sigstore bundle is named by the signed release, so nobody who serves it can exchange it. It is checked before
anything of a release is fetched, and before one that lies here already is given to a slot; what runs goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError
from edge_runtime.registry.trust.sigstore import BUNDLE, BUNDLE_BYTES_MAX, read_bundle_key
from edge_runtime.system.files import read_limited

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_runtime.registry.descriptor import Descriptor
    from edge_runtime.registry.trust.sigstore import BundleKey
    from edge_runtime.registry.trust.trusted import SignedRelease

NOT_COUNTERSIGNED: Final = "registry.bundle"
"""Code of a refusal; other keys in the configuration may lift it."""
_KEY_BYTES_MAX: Final = 64 << 10
_HELP: Final = "publish it with registry release add --sigstore-key, or correct registry.publisher_keys"


def read_publisher_keys(paths: Sequence[Path]) -> tuple[BundleKey, ...]:
    """Return the keys in PEM files.

    Raises:
        DataError: a file is not there, or holds no such key.
        StorageError, PermissionDeniedError: it cannot be read.
    """
    keys = []
    for path in paths:
        try:
            raw = read_limited(path, _KEY_BYTES_MAX)
        except FileNotFoundError as error:
            message = f"registry.publisher_keys: there is no file {path}"
            raise DataError("key.missing", message, help="copy the publisher's public key there") from error
        keys.append(read_bundle_key(raw, str(path)))
    return tuple(keys)


def bundle_of(signed: SignedRelease, where: str) -> Descriptor:
    """Return which bundle has to be fetched.

    Raises:
        DataError: code `NOT_COUNTERSIGNED`: the release has none.
    """
    bundle = signed.release.bundle
    if bundle is None:
        message = f"{where} has no Sigstore bundle, and this box takes only releases with one"
        raise DataError(NOT_COUNTERSIGNED, message, help=_HELP)
    if bundle.media_type != BUNDLE or bundle.size > BUNDLE_BYTES_MAX:
        message = f"{where}: expected a bundle of type {BUNDLE}, up to {BUNDLE_BYTES_MAX} bytes"
        raise DataError(NOT_COUNTERSIGNED, f"{message}, found {bundle.media_type[:80]!r}, {bundle.size}", help=_HELP)
    return bundle
