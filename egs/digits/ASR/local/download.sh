#!/usr/bin/env bash
# Stage 0: there is nothing to download; stage 1 speaks the corpus with eSpeak NG.
set -euo pipefail
echo "digits: nothing to download, stage 1 makes the corpus with eSpeak NG"
