"""Fine-tune Mask R-CNN on your own data in COCO format, from a classifier's checkpoint.

    DATA_ROOT=data/own CLASSIFIER=work_dirs/robustnet-tiny-patch16_own-folders/epoch_20.pth \
        python tools/train.py configs/own_data/mask-rcnn_robustnet-tiny-patch16_own-coco.py

Expects `images/`, `annotations/instances_train.json` and `annotations/instances_val.json`; for
classes other than COCO's set `metainfo` in the datasets and `num_classes` in both heads.
Measured on 280 photographs: docs/results.md.
"""

_base_ = "../coco/mask-rcnn_robustnet-tiny-patch16_fpn_1x_coco.py"

data_root = "{{$DATA_ROOT:data/own}}/"
start = dict(
    type="robustnet_mm.PretrainedTower",
    checkpoint="{{$CLASSIFIER:work_dirs/robustnet-tiny-patch16_own-folders/epoch_20.pth}}",
    prefix="backbone.",
)
model = dict(backbone=dict(init_cfg=start))
images = dict(data_root=data_root, data_prefix=dict(img="images/"))
train_dataloader = dict(dataset=dict(**images, ann_file="annotations/instances_train.json"))
val_dataloader = dict(dataset=dict(**images, ann_file="annotations/instances_val.json"))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + "annotations/instances_val.json")
test_evaluator = val_evaluator
auto_scale_lr = dict(base_batch_size=2)
