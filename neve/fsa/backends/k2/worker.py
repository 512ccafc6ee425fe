"""The real k2 by arrays: one operation each, and a loop that serves them over a pipe.

This file, with worker_values.py and worker_operations.py beside it, is a program for an interpreter
that has numpy, torch and k2, and nothing of neve; neve imports it too, for the way in which values
travel. Operations take and return numpy arrays, plain values and lists and dictionaries of them. A
k2 Fsa travels as a dictionary:

    arcs (A, 4) int32     source, destination, label, bits of the float32 score
    states, splits        (N+1,) int64: which states and arcs belong to which automaton
    single                whether it is an Fsa rather than an FsaVec of one
    attributes            name -> (A,) array, or {"splits", "values"} of a ragged one

Losses come with the gradient of their sum, totals with that of their sum.
"""

import io
import json
import os
import struct
import sys
import threading
import time
import traceback

if __name__ == "__main__":
    sys.path.pop(0)  # this directory, whose modules are named like others'

import numpy as np
import torch

if __package__:
    from neve.fsa.backends.k2.worker_operations import OPERATIONS
else:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from worker_operations import OPERATIONS

    sys.path.pop(0)

LENGTH = struct.Struct("<Q")


# How values travel: the length of a message, then an npz of arrays, in which `head` is the JSON of
# the value with {"array": i} in place of array i.


def packed(value):
    """Bytes of a value."""
    arrays = []

    def plain(item):
        if isinstance(item, torch.Tensor):
            item = item.detach().cpu().numpy()
        if isinstance(item, np.ndarray):
            arrays.append(item)
            return {"array": len(arrays) - 1}
        if isinstance(item, np.generic):
            return item.item()
        if isinstance(item, dict):
            return {"dict": [[key, plain(part)] for key, part in item.items()]}
        if isinstance(item, (list, tuple)):
            return [plain(part) for part in item]
        return item

    head = json.dumps(plain(value)).encode()
    stream = io.BytesIO()
    names = {f"a{i}": array for i, array in enumerate(arrays)}
    np.savez(stream, head=np.frombuffer(head, np.uint8), **names)
    return stream.getvalue()


def unpacked(data):
    """The value of bytes."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:

        def whole(item):
            if isinstance(item, dict) and "array" in item:
                return arrays["a{}".format(item["array"])]
            if isinstance(item, dict):
                return {key: whole(part) for key, part in item["dict"]}
            if isinstance(item, list):
                return [whole(part) for part in item]
            return item

        return whole(json.loads(arrays["head"].tobytes()))


def answered(request, operations=OPERATIONS):
    """The answer to (operation, arguments): {"value"} or {"error", "kind", "trace"}."""
    name, arguments = request
    try:
        return {"value": operations[name](**arguments)}
    except Exception as error:
        return {
            "error": str(error).strip() or repr(error),
            "kind": type(error).__name__,
            "trace": traceback.format_exc(),
        }


def serve(operations=OPERATIONS):
    """Answers requests from standard input until it ends, or the parent does."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    torch.set_num_threads(1)
    while True:
        head = requests.read(LENGTH.size)
        if len(head) < LENGTH.size:
            return
        data = requests.read(*LENGTH.unpack(head))
        answer = packed(answered(unpacked(data), operations))
        answers.write(LENGTH.pack(len(answer)) + answer)
        answers.flush()


def _end_with_parent(parent):
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    serve()
