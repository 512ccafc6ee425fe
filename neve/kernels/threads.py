"""Work over the rows of a batch on several threads; kernels release Python's lock."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba

_most = 0  # what limit_threads has set


def limit_threads(most: int) -> None:
    """From now on the kernels of this process use this many threads at most; 0: no such limit."""
    global _most
    _most = most


def num_threads() -> int:
    """Threads of the kernels: NUMBA_NUM_THREADS, or the processors this process may use, or what
    `limit_threads` allows of them."""
    there = min(numba.config.NUMBA_NUM_THREADS, len(os.sched_getaffinity(0)))
    return min(_most or there, there)


def for_each(count: int, work: Callable[[int], object], threads: int | None = None) -> list:
    """[work(0), ..., work(count - 1)], computed on at most `threads` threads (None: all)."""
    threads = max(1, min(threads or num_threads(), count))
    if threads == 1:
        return [work(row) for row in range(count)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, range(count)))
