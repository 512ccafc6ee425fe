"""The engine's kernels on CUDA devices, in Triton.

One module for each family of kernels: `rnnt`, `ctc`, `scores`, `dense`; what they take and return
is what those of `cpu` do. Nothing here waits for the device but where a result's size depends on
data. With TRITON_INTERPRET=1 in the environment the same kernels run on CPU tensors, slowly: that
is how they are tested where there is no GPU.
"""
