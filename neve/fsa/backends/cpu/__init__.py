"""The engine's kernels on the CPU: `neve.kernels` with torch tensors in and out.

One module for each family of kernels: `rnnt`, `ctc`, `scores`, `dense`. What their functions take
and return is the model for the other backends.
"""
