"""The command ``edge-runtime``: finds the verb, runs it, turns errors into a sentence and an exit code.

Each verb lives in a module of its own with ``add_parser(subparsers)`` and ``run(args) -> int``; only the module of
the verb that was asked for is imported, which keeps ``--help`` and ``check`` fast.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from typing import TYPE_CHECKING, NoReturn

from edge_runtime import __version__
from edge_runtime.cli.output import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    finish,
    prepare,
    say,
    words,
)
from edge_runtime.core.errors import EdgeError

if TYPE_CHECKING:
    from collections.abc import Sequence

# verb -> (module, what it does); the order is that of a first day with the product
VERBS = {
    "demo": ("demo", "show the whole product on this machine, without camera or broker"),
    "doctor": ("doctor", "say what this box has and lacks, and how to mend it"),
    "config": ("config", "init, show or schema of the configuration"),
    "check": ("check", "validate a configuration: every mistake at once, with its place"),
    "run": ("run", "the daemon"),
    "status": ("status", "what the daemon on this box is doing"),
    "spool": ("spool", "status, export or requeue of results that wait, are kept or were refused"),
    "watch": ("watch", "print results as they arrive at the broker, and prove that none is missing"),
    "contract": ("contract", "topics, JSON Schemas and AsyncAPI of what is published"),
    "command": ("command", "ask a box for something over its broker, or make a key to sign with"),
    "audit": ("audit", "show, verify or export the record of what this box was asked"),
    "cameras": ("cameras", "list, probe, take a picture or a reference"),
    "models": ("models", "inspect, validate, pack, push, pull, list or activate models"),
    "registry": ("registry", "found a registry, sign releases, say which box should run what"),
    "infer": ("infer", "judge image files with a model"),
    "bench": ("bench", "how fast a model runs here, bare and as a whole product"),
    "version": ("version", "versions of the product and of what it stands on"),
}


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code (contracts.md lists them)."""
    prepare()
    code: int | str | None = EXIT_FAILED
    try:
        code = dispatch(sys.argv[1:] if argv is None else list(argv))
    except SystemExit as end:  # argparse: --help, --version, wrong arguments
        code = end.code
    except KeyboardInterrupt:  # while the verb's module was being loaded
        code = EXIT_INTERRUPTED
    sys.exit(finish(code))


def dispatch(argv: list[str]) -> int:
    """Run one command line and return its exit code; never shows a traceback for an expected error."""
    started_s = time.monotonic()
    verb = next((word for word in argv if not word.startswith("-")), None)
    parser = _parser(verb)
    args, late = parser.parse_known_args(argv, argparse.Namespace(started_s=started_s))
    if late:  # argparse takes optional words only in one piece
        hint = "" if any(word.startswith("-") for word in late) else "; write words before options"
        parser.error(f"unrecognized arguments: {' '.join(late)}{hint}")
    if verb is None:
        parser.print_help(sys.stderr)
        return EXIT_USAGE
    try:
        return int(args.run(args))
    except EdgeError as error:
        say(error.report())
        return error.exit_code
    except BrokenPipeError:
        return os.EX_OK  # the reader of our output went away, as `head` does; nothing of ours failed
    except OSError as error:
        say(f"error: {words(error)}\n")
        return os.EX_NOPERM if isinstance(error, PermissionError) else EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _parser(verb: str | None) -> argparse.ArgumentParser:
    """Build the parser; only the wanted verb's own arguments are loaded."""
    parser = argparse.ArgumentParser(
        prog="edge-runtime",
        description="Camera in, verdict out, on the line.",
        epilog="Every verb has --help. Data goes to stdout, log lines to stderr.",
    )
    parser.add_argument("--version", action="version", version=f"edge-runtime {__version__}")
    subparsers = parser.add_subparsers(metavar="VERB", title="verbs")
    for name, (module, summary) in VERBS.items():
        if name == verb:
            importlib.import_module(f"edge_runtime.cli.{module}").add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=summary, add_help=False)
    return parser
