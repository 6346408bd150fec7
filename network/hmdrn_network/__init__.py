"""HMDRN in torch: backbones, masked transformer, reconstruction heads, checkpoints, training."""

from hmdrn_network.checkpoints import Checkpoint, ModelCard, load_checkpoint, save_checkpoint
from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN

__all__ = ["HMDRN", "Checkpoint", "ModelCard", "NetworkConfig", "load_checkpoint", "save_checkpoint"]
