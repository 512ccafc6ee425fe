"""The one definition of what a model hears: audio files to log-mel filterbank frames.

Training, decoding, transcription and the live runtime all take their features from here, whole
files and streams alike. `Fbank` computes frames, `Frontend` adds resampling before and mean and
variance normalisation after them and is stored in one small file (`frontend.json`) beside features
and in model directories. No torch, no Lhotse.
"""

from neve.frontend.config import FeatureConfig
from neve.lazy import lazy_exports

_getattr, __dir__, _lazy = lazy_exports(
    __name__,
    {
        "Fbank": ".filterbank",
        "FbankStream": ".filterbank",
        "LOG_FLOOR": ".filterbank",
        "fbank": ".filterbank",
        "Frontend": ".frontend",
        "FrontendStream": ".frontend",
        "Statistics": ".frontend",
        "AUDIO_SUFFIXES": ".audio",
        "read_audio": ".audio",
        "resample": ".audio",
    },
)
__getattr__ = _getattr
__all__ = ["FeatureConfig", *_lazy]
