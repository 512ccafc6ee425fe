"""Compute features, with speed perturbation and stored augmentation."""

from __future__ import annotations

from pathlib import Path

from neve.cli.main import open_stage

SECTIONS = (
    "features",
    "data.train",
    "data.dev",
    "data.test",
    "data.speed_perturb",
    "data.on_the_fly",
    "augment",
    "!augment.spec_augment",
    "!augment.spec_prob",
    "!augment.time_warp",
    "!augment.freq_masks",
    "!augment.freq_mask_width",
    "!augment.time_masks",
    "!augment.time_mask_width",
    "!augment.time_mask_share",
)
USES = ("data", "paths")


def run(config, args) -> None:
    """Stage 2."""
    manifests = Path(config.paths.manifests)
    splits = dict.fromkeys([*config.data.train, *config.data.dev, *config.data.test])
    inputs = [manifests / f"cuts_{split}.jsonl.gz" for split in splits]
    if config.augment.noise:
        inputs.append(("augment.noise", config.augment.noise))
    with open_stage("features", config.paths.fbank, inputs, config, args, SECTIONS) as stage:
        if stage.finished:
            return
        from neve.data import compute_features

        compute_features(
            config.data,
            config.features,
            config.augment,
            manifests,
            stage.dir,
            args.nj,
            final=stage.out,
        )
