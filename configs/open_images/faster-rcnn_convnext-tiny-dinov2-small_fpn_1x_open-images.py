"""Faster R-CNN with ConvNeXt-T x DINOv2 ViT-S/14 on Open Images v6, classes drawn alike, 12 epochs.

    python tools/dataset_converters/open_images.py data/OpenImages train --metas
    python tools/dataset_converters/open_images.py data/OpenImages validation --metas
    tools/dist_train.sh configs/open_images/faster-rcnn_convnext-tiny-dinov2-small_fpn_1x_open-images.py 8

Not trained by this project. Data as mmdet lays them out (docs/own-data.md, "Open Images"); measured
by OpenImagesMetric with boxes of groups and the hierarchy of classes.
"""  # noqa: E501

_base_ = [
    "mmdet::_base_/models/faster-rcnn_r50_fpn.py",
    "mmdet::_base_/datasets/openimages_detection.py",
    "../_base_/coco_1x.py",
    "../_base_/convnext-tiny-dinov2-small.py",
]
model = dict(
    backbone=_base_.detector,
    neck=_base_.tower_fpn,
    roi_head=dict(bbox_head=dict(num_classes=601)),
)
train_dataloader = dict(
    sampler=dict(_delete_=True, type="ClassAwareSampler", num_sample_class=1),
)
