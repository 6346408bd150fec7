"""Training: photographs to a checkpoint, by classification over all classes and then by episodes."""

from hmdrn_network.training.config import TrainingConfig
from hmdrn_network.training.photos import PhotoGroup, load_photo_group
from hmdrn_network.training.run import Listener, train
from hmdrn_network.training.trainer import Progress, Trainer
from hmdrn_network.training.validation import Validation

__all__ = [
    "Listener",
    "PhotoGroup",
    "Progress",
    "Trainer",
    "TrainingConfig",
    "Validation",
    "load_photo_group",
    "train",
]
