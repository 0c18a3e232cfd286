"""The twin of VT-FPN: Panoptic FPN on ResNet-50, COCO-Stuff, all 171 classes, 90k iterations.

    tools/dist_train.sh configs/visual_tokens/fpn_resnet50_90k_coco-stuff.py 8

Not trained by this project: no weights of it exist. Published figures: docs/visual-tokens.md.
"""

_base_ = "../_base_/panoptic_fpn_90k.py"
model = dict(neck=dict(type="FPN", in_channels=_base_.widths, out_channels=256, num_outs=4))
