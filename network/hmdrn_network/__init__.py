"""HMDRN in torch: backbones, masked transformer, reconstruction heads, checkpoints, training."""
