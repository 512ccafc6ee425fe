"""What all tests have in common: the signals are as in a terminal.

A shell lets its background jobs ignore Ctrl-C, and they pass that on to all that they start; the
tests that send it would then wait for nothing.
"""

import signal

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
