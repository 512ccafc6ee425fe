"""What a telephone line does to a call: its band, and one of three codecs.

G.711 in its two laws, and GSM 06.10 full rate; libsndfile codes and decodes all three.
"""

import io

import numpy as np
import scipy.signal
import soundfile

from neve.data.augment import TELEPHONE_BAND, TELEPHONE_RATE

CODECS = {"mu-law": "ULAW", "A-law": "ALAW", "GSM": "GSM610"}  # name: what libsndfile calls it


def through_telephone(samples, codec):
    """Samples (N,) int16 at 8 kHz after the line: as many."""
    band = scipy.signal.butter(4, TELEPHONE_BAND, "bandpass", fs=TELEPHONE_RATE, output="sos")
    heard = np.clip(scipy.signal.sosfilt(band, samples / 32768), -1, 1 - 2**-15)
    file = io.BytesIO()
    soundfile.write(file, heard, TELEPHONE_RATE, format="WAV", subtype=CODECS[codec])
    decoded, _ = soundfile.read(io.BytesIO(file.getvalue()), dtype="int16")
    result = np.zeros(len(samples), np.int16)
    result[: len(decoded)] = decoded[: len(samples)]
    return result
