"""Backbones by name. A new one is a module with a `BackboneSpec`, and a line here."""

from __future__ import annotations

from hmdrn_network.backbones.base import BackboneSpec
from hmdrn_network.backbones.conv4 import CONV4
from hmdrn_network.backbones.efficientnet_lite import SCALING, efficientnet_lite_spec
from hmdrn_network.backbones.resnet12 import RESNET12

BACKBONES: dict[str, BackboneSpec] = {
    spec.name: spec for spec in (CONV4, RESNET12, *map(efficientnet_lite_spec, SCALING))
}
