"""neve: Kaldi-style speech recognition recipes that install with pip."""

__version__ = "0.1.0"
