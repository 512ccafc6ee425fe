"""The recipes' own scripts, run as the stages run them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def manifests():
    """manifests(corpus, download, out, nj=1): run egs/<corpus>/ASR/local/manifests.py."""

    def run(corpus, download, out, nj=1):
        recipe = ROOT / "egs" / corpus / "ASR"
        return subprocess.run(
            [sys.executable, "local/manifests.py", "--download", str(download), "--out", str(out),
             "--nj", str(nj)],
            cwd=recipe, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)

    return run


@pytest.fixture(scope="session")
def corpora():
    """The directory with the real corpora; skips the test where there is none."""
    folder = os.environ.get("NEVE_CORPORA")
    if not folder:
        pytest.skip("NEVE_CORPORA does not name a directory with corpora")
    return Path(folder)


@pytest.fixture(scope="session")
def unpacked(corpora, tmp_path_factory):
    """unpacked(corpus, folder): the download directory that stage 0 makes of a real corpus."""
    made = {}

    def fetch(corpus, archive):
        if not (corpora / archive).exists():
            pytest.skip(f"{archive} is not in NEVE_CORPORA")
        if corpus not in made:
            made[corpus] = tmp_path_factory.mktemp(corpus) / "download"
            script = ROOT / "egs" / corpus / "ASR/local/download.sh"
            subprocess.run([script, "--dl-dir", corpora, "--download", made[corpus]], check=True,
                           capture_output=True)
        return made[corpus]

    return fetch
