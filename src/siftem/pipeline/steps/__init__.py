"""The steps of a run, one file each; `siftem.pipeline.road` has their order."""
