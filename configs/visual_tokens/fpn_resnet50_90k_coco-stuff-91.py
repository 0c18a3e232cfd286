"""The twin of VT-FPN: Panoptic FPN on ResNet-50, COCO-Stuff, 91 stuff classes, 90k iterations.

    tools/dist_train.sh configs/visual_tokens/fpn_resnet50_90k_coco-stuff-91.py 8

Not trained by this project: no weights of it exist. Published figures: docs/visual-tokens.md.
"""

_base_ = "../_base_/panoptic_fpn_90k_91.py"
model = dict(neck=dict(type="FPN", in_channels=_base_.widths, out_channels=256, num_outs=4))
published = dict(source="table 9", multiply_adds=159, shape=(800, 1216))
