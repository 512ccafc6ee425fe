"""Compiles every kernel that a call of each function starts, for GPUs that need not be there.

Prints a line a kernel: architecture, registers, shared memory, spilled bytes. `test_cuda.py` and
`benchmarks/gpu.py` run it, in a Python without TRITON_INTERPRET.
"""

import re
import subprocess
import sys
import tempfile
from contextlib import nullcontext

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from neve.fsa.backends.cuda import ctc, dense, launch, rnnt, scores
from neve.fsa.backends.structures import Graphs

TYPES = {
    torch.float32: "fp32",
    torch.float64: "fp64",
    torch.int32: "i32",
    torch.int64: "i64",
    torch.bool: "i1",
}
seen = set()


def type_of(value):
    if isinstance(value, torch.Tensor):
        return "*" + TYPES[value.dtype]
    return "fp32" if isinstance(value, float) else "i32"


def resources(kernel, arch):
    """(registers, spilled bytes) as ptxas says."""
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(kernel.asm["ptx"])
        file.flush()
        suffix = "a" if arch >= 90 else ""
        command = [get_ptxas(arch).path, "-v", f"--gpu-name=sm_{arch}{suffix}", file.name]
        said = subprocess.run([*command, "-o", "/dev/null"], capture_output=True, text=True).stderr
    spilled = sum(map(int, re.findall(r"(\d+) bytes spill (?:stores|loads)", said)))
    return int(re.search(r"Used (\d+) registers", said)[1]), spilled


def compile_only(self, *args, grid, warmup, num_warps=4, **meta):
    values = dict(zip(self.arg_names, args)) | meta
    constants = {self.arg_names[i]: values[self.arg_names[i]] for i in self.constexprs}
    for parameter in self.params:  # as when a kernel is started, whole numbers that are 1
        if type(values[parameter.name]) is int and values[parameter.name] == 1:
            if not parameter.do_not_specialize:
                constants[parameter.name] = 1
    signature = {
        name: "constexpr" if name in constants else type_of(values[name]) for name in self.arg_names
    }
    key = (self.__name__, *signature.values(), *constants.values())
    if key in seen:
        return
    seen.add(key)
    double = next(iter(signature.values())) == "*fp64"
    for arch in (90,) if double else (80, 90):  # float64 for one only: it takes long
        source = ASTSource(fn=self, signature=signature, constexprs=constants)
        compiled = triton.compile(
            source, target=GPUTarget("cuda", arch, 32), options={"num_warps": num_warps}
        )
        registers, spilled = resources(compiled, arch)
        print(
            f"sm_{arch} {self.__name__.lstrip('_'):16} {compiled.metadata.num_warps:2} warps "
            f"{registers:3} registers {compiled.metadata.shared:6} bytes shared "
            f"{spilled} bytes spilled  {' '.join(map(str, constants.values()))}",
            flush=True,
        )


def call_rnnt():
    for dtype in (torch.float32, torch.float64):
        for late in (0, 1):
            px, py = (
                torch.zeros(2, 60, 251 - late, dtype=dtype),
                torch.zeros(2, 61, 250, dtype=dtype),
            )
            boundary = torch.tensor([[0, 0, 60, 250]] * 2)
            rnnt.mutual_information(px, py, boundary, True)
        rnnt.exp_rows(torch.zeros(3, 500, dtype=dtype))
        logits = torch.zeros(2, 250, 5, 500, dtype=dtype)
        symbols, begins = torch.zeros(2, 60).long(), torch.zeros(2, 250).long()
        for kind in ("regular", "constrained") if dtype == torch.float32 else ("modified",):
            hat = kind == "modified"
            arguments = (logits, symbols, begins, 0, kind, boundary, 0.0, hat)
            rnnt.pruned_gradient(rnnt.pruned(*arguments)[1], torch.ones(2, dtype=dtype))


def call_ctc():
    for dtype in (torch.float32, torch.float64):
        log_probs, targets = torch.zeros(2, 500, 500, dtype=dtype), torch.zeros(2, 60).long()
        lengths = torch.tensor([500, 400])
        for modified in (False, True):
            ctc.ctc(log_probs, lengths, targets, lengths // 10, 0, modified, True)


def call_scores():
    src, dst = torch.tensor([0, 0, 1], dtype=torch.int32), torch.tensor([1, 2, 2]).int()
    splits = torch.tensor([0, 3])
    for dtype in (torch.float32, torch.float64):
        arcs = (src, dst, torch.zeros(3, dtype=dtype), splits, splits)
        for log_semiring in (True, False) if dtype == torch.float32 else (True,):
            for name in ("forward", "backward"):
                found = getattr(scores, name)(*arcs, log_semiring)
                getattr(scores, f"{name}_gradient")(*arcs, *found, torch.ones(3, dtype=dtype))
    scores.best_paths(*arcs)


def call_dense():
    int32 = {"dtype": torch.int32}
    graphs = Graphs(
        torch.tensor([0, 1, 1]), torch.ones(1, **int32), torch.full((1,), -1, **int32),
        torch.zeros(1), torch.zeros(1).long(), torch.tensor([2]),
    )  # fmt: skip
    log_probs, lengths = torch.zeros(1, 3, 2), torch.tensor([3])
    dense.one_best(graphs, log_probs, lengths, 20.0, 30, 10000, True)
    dense.lattice(graphs, log_probs, lengths, 20.0, 8.0, 30, 10000, True, True)
    dense.lattice_unpruned(graphs, log_probs, lengths, torch.tensor([0]), 8.0, 1000, 1000)


CALLS = (call_rnnt, call_ctc, call_scores, call_dense)

if __name__ == "__main__":
    JITFunction.run = compile_only
    launch._on_device = lambda device: nullcontext()
    for call in CALLS:
        call()
    sys.exit(not seen)
