"""Average the weights of the last epochs again, up to another epoch if need be."""

from __future__ import annotations

from pathlib import Path

from neve.errors import NeveError

USES = ("tag", "paths", "training.average_last")


def add_arguments(parser) -> None:
    """The last epoch that goes in; how many is `training.average_last`."""
    add = parser.add_argument
    add("--epoch", type=int, default=0, help="the last epoch that goes in (default: the newest)")
    add("--wait", action="store_true", help="wait for another run in the same directory")


def run(config, args) -> None:
    """Write averaged.pt into the experiment's directory; training itself ends with this."""
    last = config.training.average_last
    if not Path(config.paths.exp).is_dir():
        raise NeveError(f"there is no {config.paths.exp}: `neve train` makes it")
    from neve.pipeline import DirectoryLock
    from neve.training import average_checkpoints

    lock = DirectoryLock(Path(config.paths.exp).resolve(), wait=args.wait)
    lock.own()  # nobody decodes or trains there meanwhile
    try:
        print(f"wrote {average_checkpoints(Path(config.paths.exp), last, args.epoch)}")
    finally:
        lock.release()
