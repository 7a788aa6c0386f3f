"""Models for other programs, one file for each.

In reading order:

    target           what an export for a program is, and its comparison with soundmark
    opensoundscape   OpenSoundscape's ONNXModel
    birdnet_go       BirdNET-Go
    transformers_js  transformers.js
    web_page         a folder of static files that classifies in the browser
"""

from __future__ import annotations

from soundmark.models.export.targets.birdnet_go import BIRDNET_GO
from soundmark.models.export.targets.opensoundscape import OPENSOUNDSCAPE
from soundmark.models.export.targets.target import Target, export_for, target_path
from soundmark.models.export.targets.transformers_js import TRANSFORMERS_JS
from soundmark.models.export.targets.web_page import page_target

__all__ = ["TARGETS", "export_for", "page_target", "target_path"]

TARGETS: dict[str, Target] = {target.name: target for target in (OPENSOUNDSCAPE, BIRDNET_GO, TRANSFORMERS_JS)}
"""The programs by name."""
