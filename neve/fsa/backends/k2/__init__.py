"""The real k2 behind the engine's signatures, where it is installed.

It runs in this process if `import k2` works beside our torch, else in another interpreter that has
it, which NEVE_K2_PYTHON names or local/k2_oracle.py has made. It computes on the CPU and serves
comparison: arrays are copied on their way. What it has no function for, `cpu` computes.
"""
