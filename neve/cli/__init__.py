"""The command line: one short module for each verb, named as the verb is.

A verb binds one function of a room to a stage of `neve.pipeline`; `neve.cli.main` parses the
command line, `neve.cli.config` puts the rooms' configuration sections together. `neve --help`
lists the verbs in the order in which a recipe uses them.
"""

from neve.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__, {"Config": ".config", "main": ".main"}
)
