"""Panoptic FPN's semantic branch in the place of SegFormer's head (`segformer.py`), for a leaf."""

fpn_head = dict(type="FPNHead", feature_strides=[4, 8, 16, 32], channels=128)
