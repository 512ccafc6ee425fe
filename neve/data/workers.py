"""Batches loaded ahead of their use, by a thread or by processes, in their order."""

from __future__ import annotations

import collections
import itertools
import logging
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from neve.errors import NeveError
from neve.pipeline import start_worker

log = logging.getLogger(__name__)

LOSSES = 3  # times in an epoch that processes are started again after one of them was lost


def in_thread(load: Callable[[int], dict], numbers: Sequence[int], ahead: int) -> Iterator[dict]:
    """`load(number)` for all numbers, `ahead` of them before they are asked for."""
    with ThreadPoolExecutor(1, thread_name_prefix="loader") as pool:
        yield from _ahead(pool, load, numbers, ahead)


def in_processes(
    load: Callable[[int], dict], numbers: Sequence[int], ahead: int, workers: int
) -> Iterator[dict]:
    """The same from so many processes, each of which works `ahead`.

    What a lost process was to load is loaded again by others. The answers are the same then, as
    they follow from the number alone.

    Raises:
        NeveError: one was lost again and again.
    """
    import torch.multiprocessing  # noqa: F401  tensors go through shared memory then

    done = 0
    for loss in itertools.count(1):
        # Forked, so that they share what the loader holds in memory.
        pool = ProcessPoolExecutor(
            workers, multiprocessing.get_context("fork"), _start_worker, (load,)
        )
        try:
            for batch in _ahead(pool, _load, numbers[done:], ahead * workers):
                done += 1
                yield batch
            return
        except BrokenProcessPool as error:
            message = "a process that loads batches was killed, most likely for want of memory"
            if loss > LOSSES:
                raise NeveError(
                    f"{message}, as {LOSSES} times before in this epoch: lower data.num_workers or "
                    "data.prefetch; training goes on from the last checkpoint"
                ) from error
            log.warning("%s; started again (%d of %d times)", message, loss, LOSSES)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _ahead(pool: Executor, load: Callable, numbers: Iterable[int], ahead: int) -> Iterator[dict]:
    """Answers in order; with `ahead` of them under way, so that no more pile up."""
    rest = iter(numbers)
    waiting = collections.deque(
        pool.submit(load, number) for number in itertools.islice(rest, max(ahead, 1))
    )
    try:
        while waiting:
            answer = waiting.popleft().result()
            waiting.extend(pool.submit(load, number) for number in itertools.islice(rest, 1))
            yield answer
    finally:
        for future in waiting:
            future.cancel()


_loading: Callable[[int], dict] | None = None  # of this process, if it is one that loads


def _start_worker(load: Callable[[int], dict]) -> None:
    global _loading
    import torch

    start_worker()
    torch.set_num_threads(1)  # also because threads do not survive the fork
    _loading = load


def _load(number: int) -> dict:
    return _loading(number)
