"""Local jobs: one function over many items in several processes."""

import concurrent.futures
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from neve.errors import NeveError
from neve.progress import progress

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def run_jobs(
    function: Callable[[Item], Answer],
    items: Iterable[Item],
    nj: int,
    what: str = "",
    unit: str = "items",
) -> Iterator[Answer]:
    """Yield `function(item)` for each of `items`, in their order, from `nj` processes.

    `function` and the items must be picklable: a function of a module, not one inside another.
    With `nj` 1 everything happens in this process. Workers compute with one thread each, ignore
    Ctrl-C (this process stops them) and end when this process ends, however it does. `what` names
    the work in the progress report.

    Raises what `function` raises; NeveError if a worker dies (usually for want of memory).
    """
    if nj < 1:
        raise NeveError(f"--nj must be at least 1, not {nj}")
    items = list(items)
    nj = min(nj, len(items))
    if nj <= 1:
        yield from progress(map(function, items), total=len(items), what=what, unit=unit)
        return
    pool = concurrent.futures.ProcessPoolExecutor(
        nj, multiprocessing.get_context("spawn"), initializer=start_worker
    )
    # A bounded number is under way, so that answers do not pile up where they are used slowly.
    rest = iter(items)
    waiting = [pool.submit(function, item) for item in itertools.islice(rest, 4 * nj)]

    def answers() -> Iterator[Answer]:
        while waiting:
            answer = waiting.pop(0).result()
            waiting.extend(pool.submit(function, item) for item in itertools.islice(rest, 1))
            yield answer

    done = False
    try:
        yield from progress(answers(), total=len(items), what=what, unit=unit)
        done = True
    except BrokenProcessPool as error:
        raise NeveError(
            f"a worker process of {what or function.__name__} died (killed, or out of memory); "
            "start again with a smaller --nj"
        ) from error
    finally:
        if not done:
            for process in list((pool._processes or {}).values()):
                process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


def start_worker() -> None:
    """What a worker process begins with: it computes with one thread each, ignores Ctrl-C and ends
    when its parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"
    parent = multiprocessing.parent_process()

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
