#!/usr/bin/env python3
"""Stage 1 of conf/tiny.yaml: the same, but few utterances of few texts."""

import manifests

SIZES = {"bank_test": 24, "bank_dev": 10, "general_dev": 8, "bank_train": 40, "general_train": 120}

if __name__ == "__main__":
    manifests.main(SIZES, (400, 300))
