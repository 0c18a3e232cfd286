"""`forms_folders.py` with the ViT frozen.

    DATA_ROOT=data/own CNN_WEIGHTS=mobilenet_v2.pth VIT_WEIGHTS=deit_tiny_patch16_224.pth \
        python tools/analysis_tools/study.py configs/studies/forms_folders_frozen.py

Results: docs/evidence.md.
"""

_base_ = "./forms_folders.py"

common = {"model.backbone.vit.frozen_stages": 12}
