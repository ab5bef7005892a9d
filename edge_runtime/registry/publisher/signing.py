"""Whose signature a role needs, has and lacks (TUF 1.0.34, 4.1: keys and threshold of a role)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuf.api.exceptions import RepositoryError

from edge_runtime.core.errors import UnavailableError

if TYPE_CHECKING:
    from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

    from edge_runtime.registry.publisher.keys import Keyring

    AnyMetadata = Metadata[Root] | Metadata[Targets] | Metadata[Snapshot] | Metadata[Timestamp]


@dataclass(frozen=True, slots=True)
class Need:
    """One role that has to be signed.

    Attributes:
        role: its name.
        delegator: says which keys, and how many of them.
        metadata: what is signed.
        remark: tells two needs of one role apart.
    """

    role: str
    delegator: Root | Targets
    metadata: AnyMetadata
    remark: str

    @property
    def threshold(self) -> int:
        """How many signatures it needs."""
        return self.delegator.get_delegated_role(self.role).threshold

    def keyids(self) -> tuple[list[str], list[str]]:
        """Return the keys that have signed it, and those that may but have not."""
        payload = self.metadata.signed_bytes
        result = self.delegator.get_verification_result(self.role, payload, self.metadata.signatures)
        return list(result.signed), list(result.unsigned)

    @property
    def met(self) -> bool:
        """Whether it has enough signatures."""
        return not self.lacks

    @property
    def lacks(self) -> int:
        """How many signatures are missing, >= 0."""
        return max(0, self.threshold - len(self.keyids()[0]))

    def wanted(self, keyring: Keyring) -> list[str]:
        """Return what the keys are called that may still sign it."""
        return [key.name if (key := keyring.find(keyid)) else keyid[:12] for keyid in self.keyids()[1]]

    def signers(self, keyring: Keyring) -> list[str]:
        """Return the keys at hand that would sign it, no more than it lacks; those without passphrase first."""
        here = sorted(
            (key for keyid in self.keyids()[1] if (key := keyring.find(keyid)) and key.at_hand),
            key=lambda k: k.encrypted,
        )
        return [key.keyid for key in here[: self.lacks]]


def add_signatures(need: Need, keyring: Keyring) -> list[str]:
    """Sign with the keys that are at hand until there are enough; return their names.

    Raises:
        DataError: a passphrase is wrong.
        UnavailableError: a token or a service did not sign.
    """
    names = []
    for keyid in need.signers(keyring):
        key, signer = keyring.find(keyid), keyring.signer(keyid)
        name = key.name if key else keyid[:12]
        try:
            need.metadata.sign(signer, append=True)
        except RepositoryError as error:  # tuf wraps whatever a token or a service raises
            message = f"key {name} did not sign {need.role}: {error}"
            help_ = "is the token plugged in, the service reachable, its Python library installed?"
            raise UnavailableError("key.unavailable", message, help=help_) from error
        names.append(name)
    return names
