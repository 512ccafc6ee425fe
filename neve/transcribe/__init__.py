"""Audio files to text, with a model directory and nothing else.

`Transcriber` loads the model once and transcribes any number of files; `transcribe` does one file.
Long recordings are cut at their quietest places. Words have times and confidences.
"""

from neve.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Transcript": ".transcriber",
        "Transcriber": ".transcriber",
        "cut_at_pauses": ".segments",
        "transcribe": ".transcriber",
    },
)
