"""The papers of a model: bill of materials, provenance, model card, licence. Made where a package has none. Pure.

They say what `edge-model.json` states and, in plain words, what nobody stated: a paper that is made up would be worse
than none. The same package gives the same bytes: no times, no random numbers, no names of machines.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError
from edge_runtime.core.jsonfields import load_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.core.manifest import Manifest

SBOM_NAME: Final = "sbom.cdx.json"
PROVENANCE_NAME: Final = "provenance.intoto.json"
CARD_NAME: Final = "model-card.md"
SBOM_BYTES_MAX: Final = 16 << 20
LICENCE_NAME: Final = "LICENSE"

_SPDX: Final = frozenset(
    {
        *("0BSD", "AGPL-3.0", "AGPL-3.0-only", "AGPL-3.0-or-later", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause"),
        *("BSL-1.0", "CC-BY-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC-BY-SA-4.0", "CC0-1.0", "CDLA-Permissive-2.0"),
        *("EPL-2.0", "EUPL-1.2", "GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0", "GPL-3.0-only", "GPL-3.0-or-later"),
        *("ISC", "LGPL-3.0-only", "LGPL-3.0-or-later", "MIT", "MPL-2.0", "Unlicense", "Zlib"),
    }
)
"""Identifiers of the SPDX list that models have; what is not among them is given as a name."""
_BY_LOWER: Final = {one.lower(): one for one in _SPDX}
_BUILD_TYPE: Final = "urn:edge-runtime:build:stated/1"
_BUILDER: Final = "urn:edge-runtime:builder:unknown"
_LABELS_SHOWN: Final = 20
_SEE_CARD: Final = f"not stated in edge-model.json; {CARD_NAME} may say more"
_UNSTATED: Final = "not stated by the publisher"


@dataclass(frozen=True, slots=True)
class Subject:
    """The package that the papers are about.

    Attributes:
        package: its `edge-model.json`, parsed.
        document: the same as JSON, for keys that `Manifest` does not keep.
        weights: hex SHA-256 of its weights by path, those of its steps, too.
    """

    package: Manifest
    document: Mapping[str, object]
    weights: Mapping[str, str]

    @property
    def licence(self) -> str | None:
        """The stated licence, as an SPDX identifier where it is one (`apache-2.0`, `AGPL-3.0 License (URL)`)."""
        text = _text(self.document.get("license")) or _text(self.package.provenance.get("license"))
        word, _, rest = (text or "").partition(" ")
        is_one_word = not rest or rest.lower().startswith(("license", "licence"))
        return _BY_LOWER.get(word.lower(), text) if is_one_word else text

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.package.name} {self.package.version}"


def make_sbom(subject: Subject) -> bytes:
    """Return a CycloneDX 1.6 ML-BOM (ecma-international.org ECMA-424, components of type machine-learning-model)."""
    package = subject.package
    licence = subject.licence
    component: dict[str, object] = {
        "type": "machine-learning-model",
        "bom-ref": f"{package.name}@{package.version}",
        "name": package.name,
        "version": package.version,
        "components": [
            {"type": "file", "bom-ref": path, "name": path, "hashes": [{"alg": "SHA-256", "content": sha256}]}
            for path, sha256 in sorted(subject.weights.items())
        ],
        "modelCard": _model_card(subject),
        "properties": [
            {"name": "edge-model:digest", "value": package.digest},
            {"name": "edge-model:release", "value": str(package.release)},
            *({"name": "edge-model:hardware", "value": one} for one in package.hardware),
            *({"name": f"edge-model:requires:{key}", "value": str(one)} for key, one in package.requires.items()),
        ],
    }
    if description := _text(subject.document.get("description")):
        component["description"] = description
    if licence is not None:
        component["licenses"] = [{"license": {"id" if licence in _SPDX else "name": licence}}]
    metadata: dict[str, object] = {"component": component}
    tools = package.provenance.get("tools")
    if isinstance(tools, dict) and tools:
        named = [{"type": "application", "name": str(key), "version": str(one)} for key, one in sorted(tools.items())]
        metadata["tools"] = {"components": named}
    return _written(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, package.digest)}",
            "version": 1,
            "metadata": metadata,
        }
    )


def doubt_sbom(raw: bytes, subject: Subject) -> str | None:
    """Return why a bill of materials that came with the package is not about it, ``None`` when nothing says so."""
    try:
        document = load_object(raw, SBOM_NAME, limit_bytes=SBOM_BYTES_MAX)
    except DataError as error:
        return error.message
    metadata = document.get("metadata")
    component = metadata.get("component") if isinstance(metadata, dict) else None
    version = component.get("version") if isinstance(component, dict) else None
    if version != subject.package.version:
        return f"{SBOM_NAME} is about version {json.dumps(version)[:80]}, the package is {subject.package.version}"
    text = raw.decode().lower()
    lacking = sorted(path for path, sha256 in subject.weights.items() if sha256 not in text)
    return f"{SBOM_NAME} does not hold the hash of {lacking[0]}" if lacking else None


def make_provenance(subject: Subject) -> bytes:
    """Return an in-toto statement with SLSA provenance 1.0 of what the package states about its making.

    Nobody watched the build, and nobody signs this apart from the release as a whole: the builder is unknown.
    """
    package = subject.package
    named = {"edge-model.json": package.digest.removeprefix("sha256:"), **subject.weights}
    return _written(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": path, "digest": {"sha256": sha256}} for path, sha256 in sorted(named.items())],
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {
                "buildDefinition": {
                    "buildType": _BUILD_TYPE,
                    "externalParameters": {"stated": dict(package.provenance)},
                    "internalParameters": {
                        "note": "as stated in edge-model.json by its publisher; no build service observed it"
                    },
                },
                "runDetails": {"builder": {"id": _BUILDER}},
            },
        }
    )


def make_card(subject: Subject) -> bytes:
    """Return a model card in Markdown."""
    package = subject.package
    description = package.description
    labels = ", ".join(f"`{one}`" for one in (description.labels or ())[:_LABELS_SHOWN])
    more = len(description.labels or ()) - _LABELS_SHOWN
    rows = {
        "task": description.task,
        "decoder": description.decoder,
        "labels": labels + (f" and {more} more" if more > 0 else ""),
        "weights": ", ".join(f"`{path}`" for path in sorted(subject.weights)),
        "hardware": ", ".join(package.hardware),
        "licence": subject.licence,
        "data": _text(package.provenance.get("data")),
        "made by": _text(package.provenance.get("tool")),
    }
    lines = [
        f"# {subject.title}",
        "",
        _text(subject.document.get("description")) or f"What this model is for is {_UNSTATED}.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {key} | {_cell(value)} |" for key, value in rows.items()),
        "",
        "This card was made from `edge-model.json`. Intended use, evaluation and limits are " + _UNSTATED + ":",
        "do not rely on the model for safety, and try it on your own parts before it decides anything.",
    ]
    return ("\n".join(lines) + "\n").encode()


def make_licence(subject: Subject) -> bytes:
    """Return a notice in place of a licence's text."""
    licence = subject.licence
    if licence is None:
        text = (
            f"No licence is stated for the model {subject.title}.\n"
            "Without one nobody but its owner may use, copy or pass it on. Ask whoever made it.\n"
        )
    else:
        first = f"SPDX-License-Identifier: {licence}" if licence in _SPDX else f"Licence: {licence}"
        text = (
            f"{first}\n\n"
            f"This is what edge-model.json states as the licence of {subject.title}; its text is not in the package.\n"
        )
    return text.encode()


def _model_card(subject: Subject) -> dict[str, object]:
    description = subject.package.description
    size = description.input.size
    image = " ".join(
        one for one in (description.input.color, "image", f"{size[1]}x{size[0]} pixels" if size else "") if one
    )
    parameters: dict[str, object] = {"inputs": [{"format": image}]}
    if description.task is not None:
        parameters["task"] = description.task
        parameters["outputs"] = [{"format": f"vision.result/1, {description.task}"}]
    if description.decoder is not None:
        parameters["modelArchitecture"] = description.decoder
    if data := _text(subject.package.provenance.get("data")):
        parameters["datasets"] = [{"type": "dataset", "name": "training", "description": data}]
    return {
        "modelParameters": parameters,
        "considerations": {"technicalLimitations": [_SEE_CARD], "useCases": [_SEE_CARD]},
    }


def _text(value: object) -> str | None:
    return " ".join(value.split()) or None if isinstance(value, str) else None


def _cell(value: str | None) -> str:
    return value.replace("|", "\\|") if value else _UNSTATED


def _written(document: Mapping[str, object]) -> bytes:
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()
