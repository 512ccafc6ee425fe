"""Who computes: the engine's kernels behind one set of signatures, chosen by device.

A backend is a package of this one, `cpu` (numba), `cuda` (Triton) or `k2` (the real k2, where it is
installed); a family of kernels is a module of it: `rnnt`, `ctc`, `scores`, `dense`. Functions of
one name take and return the same things in every backend: torch tensors on the backend's device,
checked by the caller, without autograd. What a backend lacks, `cpu` computes.
"""

from neve.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "BACKENDS": ".choice",
        "backend_name": ".choice",
        "kernel": ".choice",
        "kernels": ".choice",
        "use": ".choice",
    },
)
