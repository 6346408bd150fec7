"""A whole pretrained EfficientNet-Lite, with the head that the backbone leaves out.

It serves as a teacher, and to check that weights, normalization and padding belong together.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from hmdrn_network.backbones.base import BackboneSpec
from hmdrn_network.backbones.efficientnet_lite import batch_norm
from hmdrn_network.backbones.pretrained import load_pretrained, read_package
from hmdrn_runtime.errors import CheckpointError

HEAD_CHANNELS = 1280
CLASSES = 1000


class ImageNetClassifier(nn.Module):
    """EfficientNet-Lite with its head of 1,280 channels and its classifier of ImageNet's 1,000 classes.

    Args:
        spec: One of the EfficientNet-Lite backbones.
        side: Side of the input in pixels.

    Raises:
        CheckpointError: The backbone has no ImageNet weights, or their package is missing or unexpected.
    """

    def __init__(self, spec: BackboneSpec, side: int) -> None:
        super().__init__()
        if spec.pretrained is None:
            raise CheckpointError(f"no pretrained weights exist for {spec.name}: choose an EfficientNet-Lite")
        self.spec = spec
        self.backbone = spec.build(side)
        self.head = nn.Conv2d(spec.channels["high"], HEAD_CHANNELS, 1, bias=False)
        self.head_norm = batch_norm(HEAD_CHANNELS)
        self.classifier = nn.Linear(HEAD_CHANNELS, CLASSES)
        load_pretrained(self.backbone, spec)
        entries = read_package(spec.pretrained)
        parts = {"_conv_head": self.head, "_bn1": self.head_norm, "_fc": self.classifier}
        for prefix, module in parts.items():
            module.load_state_dict(
                {n.removeprefix(f"{prefix}."): v for n, v in entries.items() if n.startswith(f"{prefix}.")}
            )
        self.eval()

    def features(self, images: Tensor) -> Tensor:
        """Return pooled features (N, 1280), at least 0, of normalized photos (N, 3, S, S)."""
        high = self.backbone(images)["high"]
        return F.relu6(self.head_norm(self.head(high))).mean(dim=(2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 1000) of normalized photos (N, 3, S, S)."""
        logits: Tensor = self.classifier(self.features(images))
        return logits
