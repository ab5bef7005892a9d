"""``edge-runtime registry``: the publisher's side. Found a registry, release models, say which box should run what."""

from __future__ import annotations

import contextlib
import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.values import number, seconds, whole

if TYPE_CHECKING:
    import argparse

    Actions = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - the type has no public name

RELEASE_MAX = 10**9 - 1
DAYS_MAX = 366
PROFILES = ("production", "airgap", "dev")
PACKAGE_HELP = "package directory (with edge-model.json), or an image layout that models pack --oci made"


def add_parser(subparsers: Actions) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "registry",
        help="found a registry, sign releases and rollouts",
        description="Everything a publisher does. Each action says what it is about to sign and asks; --yes is for "
        "scripts. The publisher's directory (--home, by default ./registry) holds the keys; the registry itself holds "
        "only what was signed. Begin with: edge-runtime registry init --url oci-layout:DIR --site SITE --profile dev",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    _add_init(actions)
    status = _action(actions, "status", "status", "what is signed, by whom, until when; what waits and what to do")
    status.add_argument("--json", action="store_true", help="one JSON object")
    refresh = _signing(
        actions, "refresh", "status", "sign again what would expire, for cron: timestamp, snapshot, rollouts"
    )
    refresh.add_argument(
        "--role", action="append", default=[], help="renew this role too, for example targets or root; repeatable"
    )
    _signing(actions, "restore", "status", "put back what was published from here last: the registry has lost it")
    _add_pending(actions)
    site = _signing(actions, "site", "keys", "let boxes of one more site choose among the releases")
    site.add_argument("site", metavar="SITE", help="as `site:` in the configuration of its boxes")
    site.add_argument("--rollout-key", metavar="NAME", help="key that signs its rollouts (default: a new one)")
    _add_keys(actions)
    _add_releases(actions)
    _add_rollouts(actions)
    _add_bundles(actions)


def _action(actions: Actions, name: str, module: str, what: str, run: str | None = None) -> argparse.ArgumentParser:
    """Add an action that only reads; ``run_NAME`` of `cli.registry_MODULE` does it, imported when it is asked for."""

    def work(args: argparse.Namespace) -> int:
        function = getattr(importlib.import_module(f"edge_runtime.cli.registry_{module}"), run or f"run_{name}")
        with contextlib.ExitStack() as args.closing:
            return int(function(args))

    parser = actions.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
    parser.add_argument(
        "--home", metavar="DIR", type=Path, default=Path("registry"), help="the publisher's directory (./registry)"
    )
    parser.set_defaults(run=work)
    return parser


def _signing(actions: Actions, name: str, module: str, what: str, run: str | None = None) -> argparse.ArgumentParser:
    """Add an action that signs."""
    parser = _action(actions, name, module, what, run)
    parser.add_argument("--yes", action="store_true", help="sign without asking")
    parser.add_argument(
        "--key", metavar="FILE", type=Path, action="append", default=[], help="also sign with this private key (PEM)"
    )
    parser.add_argument("--passphrase-file", metavar="FILE", type=Path, help="first line: passphrase of the keys")
    parser.add_argument("--json", action="store_true", help="what was done as one JSON object")
    return parser


def _add_init(actions: Actions) -> None:
    init = _signing(actions, "init", "init", "found a registry: keys, first signatures, and what to do next")
    init.add_argument("--url", required=True, help="oci://HOST[:PORT]/NAMESPACE or oci-layout:DIR")
    init.add_argument("--site", dest="sites", action="append", default=[], metavar="SITE", help="repeatable")
    init.add_argument("--profile", choices=PROFILES, default="production", help="dev: one key each (production)")
    init.add_argument(
        "--use",
        action="append",
        default=[],
        metavar="ROLE=KEY[,KEY...]",
        help="keys made before, by key new or key import, instead of new ones",
    )
    init.add_argument("--username", help="robot account that may push")
    for option, what in (
        ("--password-file", "file with its password"),
        ("--ca-file", "PEM of the authorities that are believed"),
        ("--cert-file", "PEM of the client certificate"),
        ("--key-file", "PEM of its key"),
    ):
        init.add_argument(option, metavar="FILE", type=Path, help=what)
    init.add_argument("--proxy", metavar="URL", help="proxy on the way to the registry")
    init.add_argument("--realm-host", dest="realm_hosts", action="append", default=[], help="host that issues tokens")
    init.add_argument("--allow-http", action="store_true", help="http:// with a registry that is not this machine")


def _add_pending(actions: Actions) -> None:
    sign = _signing(actions, "sign", "status", "add a signature to a change that waits for it")
    sign.add_argument("file", metavar="FILE", type=Path, help="as another publisher's action wrote it")
    publish = _signing(actions, "publish", "status", "publish a change that has all signatures")
    publish.add_argument("file", metavar="FILE", type=Path, help="as registry sign left it")


def _add_keys(actions: Actions) -> None:
    parser = actions.add_parser("key", help="make, list, rotate or revoke keys")
    keys = parser.add_subparsers(metavar="ACTION", required=True)
    new = _action(keys, "new", "keys", "make a key in a file")
    new.add_argument("name", metavar="NAME")
    new.add_argument(
        "--type",
        choices=("ed25519", "ecdsa"),
        default="ed25519",
        help="ed25519 signs metadata, ecdsa (P-256) Sigstore bundles (ed25519)",
    )
    new.add_argument("--passphrase-file", metavar="FILE", type=Path, help="first line: passphrase of the key")
    new.add_argument("--no-passphrase", action="store_true", help="for keys of a machine: cron, CI")
    new.add_argument("--json", action="store_true", help="one JSON object")
    taken = _action(keys, "import", "keys", "take up a public key: of a token, a key service, or of somebody else")
    taken.add_argument("name", metavar="NAME")
    taken.add_argument("--public", metavar="FILE", type=Path, required=True, help="its public half: PEM or *.pub.json")
    taken.add_argument("--uri", help="where its private half is: hsm:ID?label=TOKEN, awskms:, azurekms:, gcpkms:, hv:")
    taken.add_argument("--json", action="store_true", help="one JSON object")
    listed = _action(keys, "list", "keys", "which key may sign what, until when, and which are here")
    listed.add_argument("--json", action="store_true", help="one JSON object")
    rotate = _signing(keys, "rotate", "keys", "replace a key of a role by another: it was lost, stolen, or is old")
    rotate.add_argument(
        "what",
        metavar="ROLE OLD NEW",
        nargs="+",
        help="ROLE: root, targets, snapshot, timestamp or rollout-SITE. OLD: name of the key, or the beginning of its "
        "id. NEW: name of the key that takes its place; made if there is none. Several at once: ROLE OLD NEW ROLE ...",
    )
    grant = _signing(keys, "grant", "keys", "let one more key sign a role")
    grant.add_argument("role", metavar="ROLE", help="root, targets, snapshot, timestamp or rollout-SITE")
    grant.add_argument("name", metavar="KEY", help="name of the key")
    grant.add_argument("--threshold", type=whole(1, 9), help="how many of its keys must sign from now on")
    revoke = _signing(keys, "revoke", "keys", "take all rights from a key")
    revoke.add_argument("name", metavar="KEY", help="name of the key, or the beginning of its id")


def _add_releases(actions: Actions) -> None:
    parser = actions.add_parser("release", help="add, list, revoke releases; raise a floor")
    releases = parser.add_subparsers(metavar="ACTION", required=True)
    add = _signing(releases, "add", "releases", "push a package and sign it as a release")
    add.add_argument("package", metavar="PACKAGE", type=Path, help=PACKAGE_HELP)
    add.add_argument("--model", help="refuse a package of another model; choose among those of a layout")
    add.add_argument(
        "--release", type=whole(0, RELEASE_MAX), help="refuse another number; choose among those of a layout"
    )
    add.add_argument(
        "--sigstore-key",
        metavar="FILE",
        type=Path,
        help="also sign a Sigstore bundle, for boxes with publisher_keys and for tools like cosign",
    )
    listed = _action(releases, "list", "releases", "all releases, newest last, and which of them are banned")
    listed.add_argument("--json", action="store_true", help="one JSON object")
    for name, what in (
        ("revoke", "ban one release for ever: no box takes it, those that run it raise an alarm"),
        ("floor", "ban all releases of a model below N for ever"),
    ):
        ban = _signing(releases, name, "releases", what)
        ban.add_argument("model", metavar="MODEL")
        ban.add_argument("release", metavar="N", type=whole(0, RELEASE_MAX))


def _add_rollouts(actions: Actions) -> None:
    parser = actions.add_parser("rollout", help="say which boxes should run which release")
    rollouts = parser.add_subparsers(metavar="ACTION", required=True)
    assign = _signing(rollouts, "set", "rollouts", "let slots that want a model run one of its releases")
    _of_site(assign)
    _matching(assign)
    assign.add_argument("--release", type=whole(0, RELEASE_MAX), required=True, metavar="N")
    assign.add_argument("--ring", help="what this stage is called")
    assign.add_argument("--percent", type=number(0, 100), default=100.0, help="of the boxes that match (100)")
    assign.add_argument("--salt", help="another salt, other boxes within the percent (default: one per stage)")
    _changing(assign)
    unset = _signing(rollouts, "unset", "rollouts", "take back assignments: their slots keep what they run")
    _of_site(unset)
    _matching(unset)
    show = _action(rollouts, "show", "rollouts", "what sites want now")
    show.add_argument("--site", help="only this one")
    show.add_argument("--json", action="store_true", help="one JSON object")
    for name, what in (("pause", "boxes of a site begin nothing new"), ("resume", "boxes of a site go on")):
        _of_site(_signing(rollouts, name, "rollouts", what, "run_pause"), resume=name == "resume")
    kill = _signing(rollouts, "kill", "rollouts", "no box of a site takes this; those that run it raise an alarm")
    kill.add_argument("what", metavar="DIGEST|MODEL", help="digest of a manifest, or a model and N")
    kill.add_argument("release", metavar="N", type=whole(0, RELEASE_MAX), nargs="?", help="number of the release")
    kill.add_argument("--site", help="(default: every site)")


def _changing(parser: argparse.ArgumentParser) -> None:
    how = parser.add_argument_group("how boxes change to it", "The page docs/updates.md explains each of these.")
    how.add_argument(
        "--mode",
        choices=("shadow", "canary", "active"),
        default="active",
        help="shadow: it is first compared with the old one on live pictures, without a say; canary: it judges one "
        "inspection first; active: neither (active)",
    )
    how.add_argument(
        "--window",
        metavar="TEXT",
        help="when boxes may switch, in their local time, for example 'Mon-Fri,22:00-04:00; Sat-Sun,00:00-24:00'; UTC "
        "at the end means UTC (default: at any time)",
    )
    how.add_argument(
        "--approve",
        choices=("auto", "operator"),
        default="auto",
        help="operator: it waits until somebody at the line agrees (auto)",
    )
    how.add_argument(
        "--bake",
        type=seconds,
        default=0.0,
        metavar="S",
        help="seconds on probation before the old one is unloaded (600)",
    )
    how.add_argument(
        "--gate",
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        help="what it must reach, repeatable: shadow_frames, shadow_s, disagreement_max, canary_frames, "
        "probation_frames, latency_ratio_max, undecided_max, not_ok_shift_max, score_shift_max, memory_growth_mb, "
        "crashes_max",
    )
    how.add_argument(
        "--on-regression",
        choices=("rollback", "hold"),
        default="rollback",
        help="both go back to the old one at once; hold: the slot then begins nothing until an operator lifts that "
        "(rollback)",
    )


def _of_site(parser: argparse.ArgumentParser, *, resume: bool = False) -> None:
    parser.add_argument("--site", help="which site (default: the only one)")
    parser.set_defaults(resume=resume)


def _matching(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True)
    for part in ("line", "edge", "camera", "slot", "channel"):
        parser.add_argument(
            f"--{part}", action="append", default=[], help=f"only this {part}; repeatable = any of them"
        )
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="only boxes with this label")


def _add_bundles(actions: Actions) -> None:
    parser = actions.add_parser("bundle", help="carry what a site needs through an air gap")
    bundles = parser.add_subparsers(metavar="ACTION", required=True)
    export = _signing(bundles, "export", "bundle", "write what one site needs to a stick or into an archive")
    _of_site(export)
    export.add_argument(
        "--out", metavar="DIR|FILE.tar", type=Path, required=True, help="image layout: a directory, or one tar archive"
    )
    export.add_argument(
        "--model",
        metavar="MODEL[:N]",
        action="append",
        default=[],
        help="this release too (the newest without N), besides those that the rollout names; repeatable",
    )
    export.add_argument(
        "--valid-days", metavar="N", type=whole(1, DAYS_MAX), help="sign it for so long, where the keys are here"
    )
    verify = _action(bundles, "verify", "bundle", "read a bundle as a box of its site would, and every byte of it")
    verify.add_argument("path", metavar="DIR|FILE.tar", type=Path)
    verify.add_argument("--site", help="whose boxes it is for (the one that it was made for)")
    verify.add_argument("--root", metavar="FILE", type=Path, help="root of trust (that of --home)")
    verify.add_argument("--json", action="store_true", help="one JSON object")
