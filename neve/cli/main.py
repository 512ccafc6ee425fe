"""Parsing the command line, and what all verbs have in common."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import re
import signal
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from neve import __version__
from neve.config import describe, load
from neve.errors import ConfigError, NeveError

# verb -> number of the stage in a recipe that is this verb
VERBS: dict[str, str] = {
    "config": "",
    "prepare": "1",
    "features": "2",
    "lang": "3",
    "lm": "4",
    "perplexity": "",
    "train-lm": "",
    "graph": "5",
    "train": "6",
    "average": "",
    "import-icefall": "",
    "decode": "7",
    "score": "8",
    "pack": "9",
    "transcribe": "",
    "align": "",
    "g2p": "",
    "spot": "",
    "doctor": "",
}
OVERRIDE = re.compile(r"--(?P<key>[A-Za-z][\w-]*(?:\.[\w-]+)+|tag|title)(?:=(?P<value>.*))?", re.S)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; the exit status: 0, 1 after an error, 2 for wrong usage, 130 after Ctrl-C."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if argv[0] == "--version":
        print(f"neve {__version__}")
        return 0
    verb = argv[0]
    if verb not in VERBS:
        print(f"neve: there is no verb {verb}\n\n{overview()}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _terminated)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
        handlers=[_CurrentStderr()],
    )
    try:
        return run_verb(verb, argv[1:])
    except NeveError as error:
        print(f"neve {verb}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            f"\nneve {verb}: interrupted. Nothing half-done is left; the same command goes on.",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def run_verb(verb: str, argv: list[str]) -> int:
    """Parse the arguments of one verb and run it."""
    module = importlib.import_module(f"neve.cli.{verb.replace('-', '_')}")
    parser = make_parser(verb, module, helping="--help" in argv or "-h" in argv)
    rest, overrides = split_overrides(argv, parser)
    args = parser.parse_args(rest)
    args.words = argv  # for a verb that starts itself in several processes
    if args.help:
        print(help_text(parser, module))
        return 0
    if hasattr(module, "run_alone"):  # a verb that takes its configuration from a model directory
        module.run_alone(args, overrides)
        return 0
    args.overrides = overrides
    config = load_config(args.config, overrides)
    module.run(config, args)
    return 0


def load_config(
    files: Sequence[str], overrides: Sequence[tuple[str, str]], further: Sequence[str] = ()
):
    """The root configuration; `conf/default.yaml` of the working directory if no file is named.

    further: files that are read after these.
    """
    from neve.cli.config import Config

    if not files and Path("conf/default.yaml").exists():
        files = ["conf/default.yaml"]
    return load(Config, [*files, *further], overrides)


def split_overrides(
    argv: Sequence[str], parser: argparse.ArgumentParser
) -> tuple[list[str], list[tuple[str, str]]]:
    """What is for argparse, and the configuration keys (`--section.key value` or `=value`)."""
    rest: list[str] = []
    overrides: list[tuple[str, str]] = []
    words = iter(argv)
    for word in words:
        match = OVERRIDE.fullmatch(word)
        if not match:
            rest.append(word)
            continue
        value = match["value"]
        if value is None:
            value = next(words, None)
            if value is None or OVERRIDE.fullmatch(value):
                parser.error(f"{word} needs a value")
        overrides.append((match["key"], value))
    return rest, overrides


def make_parser(
    verb: str, module: ModuleType, helping: bool = False
) -> argparse.ArgumentParser:
    """The parser of a verb's own options; configuration keys are taken out before.

    With `helping` nothing is required: `neve transcribe --help` needs no FILE.
    """
    parser = argparse.ArgumentParser(
        prog=f"neve {verb}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    add = parser.add_argument
    if not hasattr(module, "run_alone"):
        add(
            "--config",
            action="append",
            default=[],
            metavar="FILE",
            help="YAML file of configuration keys; several are read in order, later ones win "
            "(default: conf/default.yaml, if there is one here)",
        )
    if hasattr(module, "SECTIONS"):  # a stage
        add("--nj", type=int, default=default_nj(), metavar="N", help="processes (%(default)s)")
        add("--force", action="store_true", help="repeat the stage although it is finished")
        add("--wait", action="store_true", help="wait for another run in the same directory")
        add("--dry-run", action="store_true", help="say what would be done and why; do nothing")
    if hasattr(module, "add_arguments"):
        module.add_arguments(parser)
    add("--help", "-h", action="store_true", help="this text")
    if helping:
        for action in parser._actions:
            if not action.option_strings:
                action.nargs = "*"
            action.required = False
    return parser


def default_nj() -> int:
    """As many processes as this process may use cores, 8 at most."""
    return min(8, len(os.sched_getaffinity(0)))


def help_text(parser: argparse.ArgumentParser, module: ModuleType) -> str:
    """Options of a verb, then each configuration key with type, default and meaning."""
    text = parser.format_help()
    keys = [*getattr(module, "SECTIONS", ()), *getattr(module, "USES", ())]
    keys = list(dict.fromkeys(key for key in keys if not key.startswith("!")))
    if not keys:
        return text
    from neve.cli.config import Config

    rows = describe(Config)
    lines = ["configuration keys (`--KEY VALUE` here, or `section: {key: value}` in a YAML file):"]
    told = set()
    for section in dict.fromkeys(key.partition(".")[0] for key in keys):
        lines.append("")
        for key, kind, default, meaning in rows:
            wanted = any(key == part or key.startswith(part + ".") for part in keys)
            if key.partition(".")[0] != section or not wanted or key in told:
                continue
            told.add(key)
            lines.append(f"  --{key.replace('_', '-')}  ({kind}; default {show(default)})")
            inner = {"initial_indent": " " * 6, "subsequent_indent": " " * 6}
            # names of methods stay whole
            lines += textwrap.wrap(meaning, 96, break_on_hyphens=False, **inner)
    return text + "\n" + "\n".join(lines)


def show(value: object) -> str:
    """A default as it is written on a command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(show(entry) for entry in value) + "]"
    return '""' if value == "" else str(value)


def overview() -> str:
    """`neve --help`: the verbs in order."""
    lines = [
        f"neve {__version__}: Kaldi-style speech recognition recipes",
        "",
        "usage: neve VERB [--config FILE]... [--section.key VALUE]... [OPTIONS]",
        "       neve VERB --help      each option and configuration key of a verb",
        "       neve --version",
        "",
        "stage  verb",
    ]
    for verb, stage in VERBS.items():
        doc = importlib.import_module(f"neve.cli.{verb.replace('-', '_')}").__doc__ or ""
        lines.append(f"  {stage or ' ':3}  {verb:<14} {doc.splitlines()[0]}")
    lines += ["", "In a recipe, ./run.sh calls them in order; see docs/stages.md."]
    return "\n".join(lines)


def open_stage(name: str, out, inputs: Sequence, config, args, module_sections, **options):
    """The stage of a verb; an input that is missing names the stage that makes it."""
    from neve.pipeline import Stage

    if not args.dry_run:
        require_inputs(inputs, config)
    return Stage(
        name,
        out,
        inputs=inputs,
        config=config,
        sections=module_sections,
        force=args.force,
        wait=args.wait,
        dry_run=args.dry_run,
        **options,
    )


def require_inputs(inputs: Sequence, config) -> None:
    """NeveError that names the stage that makes the first input that is missing, if one is."""
    for given in inputs:
        key, path = given if isinstance(given, tuple) else ("", given)
        if not Path(path).exists():
            where = f"{key.partition('/')[0]}: " if key else ""
            raise NeveError(f"{where}there is no {path}{maker(config, str(path))}")


def maker(config, path: str) -> str:
    """Which stage makes `path`, as the end of a sentence."""
    stages = {
        "download": (0, ""),
        "manifests": (1, "prepare"),
        "fbank": (2, "features"),
        "lang": (3, "lang"),
        "lm": (4, "lm"),
        "graph": (5, "graph"),
        "decode": (7, "decode"),
        "report": (8, "score"),
        "exp": (6, "train"),
    }
    for key, (number, verb) in stages.items():
        place = getattr(config.paths, key)
        if path == place or path.startswith(place.rstrip("/") + "/"):
            how = f"`neve {verb}`, or ./run.sh --stage {number}" if verb else "./run.sh --stage 0"
            return f": stage {number} makes it ({how})"
    for key, verb in (("neural_lm", "train-lm"), ("token_lm", "lm --lm.unit tokens")):
        if path == getattr(config.decoding, key):
            return f": `neve {verb}` makes it"
    return ""


class _CurrentStderr(logging.StreamHandler):
    """A log handler that writes to whatever standard error is now (a stage's log copies it)."""

    def __init__(self):
        logging.Handler.__init__(self)

    @property
    def stream(self):
        return sys.stderr


def _terminated(*_):
    raise SystemExit(143)


def require(condition: bool, message: str) -> None:
    """ConfigError with `message` unless `condition`."""
    if not condition:
        raise ConfigError(message)
