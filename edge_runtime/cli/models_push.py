"""``edge-runtime models push``: a release that was packed, copied to a registry. It signs nothing."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.models_asked import access_of_arguments
from edge_runtime.registry.carriers.open import open_publication
from edge_runtime.registry.publisher.intake import take_in
from edge_runtime.system.logs import configure

if TYPE_CHECKING:
    import argparse


def run_push(args: argparse.Namespace) -> int:
    """Copy, and say what was copied.

    Raises:
        EdgeError: it is no release that a box would take, or the registry cannot be written.
    """
    configure(style="text", level="error", journal=False)
    incoming = take_in(Path(args.source.removeprefix("oci-layout:")), args.model, args.release)
    with closing(open_publication(args.url, access_of_arguments(args))) as registry:
        incoming.publish(registry)
    package, artifact = incoming.package, incoming.artifact
    if args.json:
        fields = {"model": package.name, "release": package.release, "manifest": artifact.digest}
        print(json.dumps({**fields, "size_bytes": artifact.size_bytes, "url": args.url}))
        return os.EX_OK
    print(f"{args.url} has release {package.release} of {package.name}: {artifact.digest}")
    print("it is signed with:  edge-runtime registry release add")
    return os.EX_OK
