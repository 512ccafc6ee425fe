"""Speech of eSpeak NG, one process for each utterance; ctypes on the PyPI wheel espeakng-loader.

eSpeak keeps state from one utterance to the next and draws random numbers, so that what it says
depends on what it said before.  Here a process that has loaded the library but never spoken is
forked for every utterance, and the child seeds the random numbers: the same voice, settings,
text and seed give the same samples, in whatever order and in however many jobs.

That process is this file run as a script.  It imports next to nothing, so that a fork is cheap.
"""

import ctypes
import json
import os
import struct
import subprocess
import sys

RATE = 22050  # Hz, of what eSpeak returns

# from speak_lib.h of eSpeak NG 1.52
_SYNCHRONOUS = 2  # samples go to the callback, and no thread is started (threads do not fork)
_SPEED, _PITCH, _RANGE = 1, 3, 4  # parameters
_UTF8 = 1
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def espeak_paths():
    """eSpeak NG's library and the directory of its voices; without them the program ends."""
    try:
        import espeakng_loader
    except ImportError:
        sys.exit("eSpeak NG, which speaks the corpus, is not here: pip install espeakng-loader "
                 "(the extra `digits` of setup.py has it)")
    return str(espeakng_loader.get_library_path()), str(espeakng_loader.get_data_path())


class Speaker:
    """Starts the process that forks, and asks it to speak."""

    def __init__(self):
        self.server = subprocess.Popen(
            [sys.executable, "-S", "-E", __file__, *espeak_paths()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def say(self, voice, text, speed, pitch, pitch_range, seed):
        """Samples, as bytes of 16-bit integers of this machine's order, of `text` at 22050 Hz.

        `voice` is as in "en-us+f3", `speed` in words a minute, `pitch` and `pitch_range` from 0
        to 99, `seed` any integer from 0 to 2**31 - 1.  Raises RuntimeError if eSpeak fails.
        """
        request = [voice, text, int(speed), int(pitch), int(pitch_range), int(seed)]
        samples = b""
        try:
            self.server.stdin.write(json.dumps(request).encode() + b"\n")
            self.server.stdin.flush()
            header = self.server.stdout.read(4)
            samples = self.server.stdout.read(*struct.unpack("=I", header))
        except (BrokenPipeError, struct.error):
            pass
        if not samples:
            raise RuntimeError(f"eSpeak NG cannot say {text!r} with the voice {voice}; if this is "
                               "so for every voice, install espeakng-loader again")
        return samples


def serve(library, data):
    """Answer requests, one a line on standard input, with a length and the samples."""
    espeak = ctypes.CDLL(library)
    rate = espeak.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(data), 0)
    if rate != RATE:
        sys.exit(f"speak.py: eSpeak NG does not start with the voices in {data} ({rate})")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                samples = say(espeak, *json.loads(line))
                sys.stdout.buffer.write(struct.pack("=I", len(samples)) + samples)
                sys.stdout.buffer.flush()
                status = 0
            finally:
                os._exit(status)
        if os.waitpid(child, 0)[1]:
            sys.exit(f"speak.py: eSpeak NG failed at {line}")


def say(espeak, voice, text, speed, pitch, pitch_range, seed):
    """The samples, as bytes, of a text; only once in a process."""
    blocks = []

    @_CALLBACK
    def collect(samples, count, events):
        if samples and count:
            blocks.append(ctypes.string_at(samples, 2 * count))
        return 0

    espeak.espeak_ng_SetRandSeed(ctypes.c_long(seed))
    espeak.espeak_SetSynthCallback(collect)
    if espeak.espeak_SetVoiceByName(voice.encode()):
        return b""
    for parameter, value in ((_SPEED, speed), (_PITCH, pitch), (_RANGE, pitch_range)):
        espeak.espeak_SetParameter(parameter, value, 0)
    data = text.encode() + b"\0"
    espeak.espeak_Synth(data, ctypes.c_size_t(len(data)), 0, 1, 0, _UTF8, None, None)
    espeak.espeak_Synchronize()
    return b"".join(blocks)


if __name__ == "__main__":
    serve(*sys.argv[1:])
