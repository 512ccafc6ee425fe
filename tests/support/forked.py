"""Processes that train, forked from one that has imported everything: they start in milliseconds.

Each sees the RANK, WORLD_SIZE, ... that `launch` and torchrun give. They are watched through a pipe
in which they say how far they are, so that they can be killed at any moment of their work.
"""

import multiprocessing
import os
import signal
import socket
import sys
from pathlib import Path

PRELOAD = ["torch.distributed", "torch._dynamo", "lhotse", "neve.cli.train", "neve.tasks.start"]
PATIENCE = 600.0  # seconds in which something has to happen


def _context():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return context


def _free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


def _child(function, words, rank, size, port, output, pipe):
    with open(output, "a") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port}
    if size > 1:
        os.environ.update({key: str(value) for key, value in places.items()})
        os.environ["MASTER_ADDR"] = "127.0.0.1"
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.exit(function(words, lambda: pipe.send_bytes(b".")))


class Forked:
    """`processes` processes that call function(words, beat); `beat()` tells that one is alive."""

    def __init__(self, function, words, directory: Path, processes: int = 1):
        directory.mkdir(exist_ok=True)
        context, port = _context(), _free_port()
        self.outputs = [directory / f"said-{rank}.txt" for rank in range(processes)]
        for output in self.outputs:
            output.write_text("")
        self.pipe, end = context.Pipe(duplex=False)
        self.processes = [
            context.Process(
                target=_child, args=(function, words, rank, processes, port, output, end)
            )
            for rank, output in enumerate(self.outputs)
        ]
        for process in self.processes:
            process.start()
        end.close()

    def wait_for_beats(self, count: int) -> bool:
        """Whether the processes have told so often that they are alive; not if they end before."""
        for _ in range(count):
            assert self.pipe.poll(PATIENCE), self.said()
            try:
                self.pipe.recv_bytes()
            except EOFError:
                return False
        return True

    def kill(self, ranks=None) -> None:
        """Kill these processes, or all, at once."""
        for rank in range(len(self.processes)) if ranks is None else ranks:
            if self.processes[rank].is_alive():
                os.kill(self.processes[rank].pid, signal.SIGKILL)

    def join(self) -> list[int]:
        """The exit statuses; what has not ended in time is killed."""
        for process in self.processes:
            process.join(PATIENCE)
        self.kill()
        for process in self.processes:
            process.join()
        self.pipe.close()
        return [process.exitcode for process in self.processes]

    def said(self) -> str:
        """What the processes wrote to their standard output and error."""
        return "".join(output.read_text() for output in self.outputs)


def run(function, words, directory: Path, processes: int = 1) -> str:
    """Let the processes end by themselves, and well; what they said."""
    forked = Forked(function, words, directory, processes)
    codes = forked.join()
    assert not any(codes), (codes, forked.said())
    return forked.said()
