"""Stages: what every step of a recipe has in common, and how its jobs are run.

A `Stage` locks the directory it makes, knows by a fingerprint of its inputs whether there is
anything to do, works in a temporary directory, and puts the finished output in place in one
rename, so that a run killed at any moment leaves nothing that a later one takes for finished.
`run_jobs` spreads work over local processes; cmd.sh and local/slurm.sh start whole verbs elsewhere.
"""

from neve.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "DirectoryLock": ".lock",
        "MARKER": ".stage",
        "Stage": ".stage",
        "digest_of": ".fingerprint",
        "run_jobs": ".jobs",
        "start_worker": ".jobs",
    },
)
