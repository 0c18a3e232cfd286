"""Your own data in COCO format for mmdet: boxes and masks, classes read from the annotations.

DATA_ROOT (data/own) holds `images/`, `annotations/instances_train.json` and `instances_val.json`.
IMAGE_SIZE (800) is the longer side in pixels, EPOCHS (12), BATCH (2) images a process.
"""

_base_ = "./mask-rcnn_coco_1x.py"

from robustnet_mm.datasets import coco_classes, palette, positive  # mmengine wants `_base_` first

data_root = "{{$DATA_ROOT:data/own}}/"
annotations = dict(train="annotations/instances_train.json", val="annotations/instances_val.json")
classes = coco_classes(*(data_root + file for file in annotations.values()))
size = positive("IMAGE_SIZE", "{{$IMAGE_SIZE:800}}")
epochs = positive("EPOCHS", "{{$EPOCHS:12}}")
batch = positive("BATCH", "{{$BATCH:2}}")

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="Resize", scale=(size, size), keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(size, size), keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]
metainfo = dict(classes=classes, palette=palette(classes))
own = dict(data_root=data_root, data_prefix=dict(img="images/"), metainfo=metainfo)
train_dataloader = dict(
    batch_size=batch,
    dataset=dict(**own, ann_file=annotations["train"], pipeline=train_pipeline),
)
val_dataloader = dict(dataset=dict(**own, ann_file=annotations["val"], pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + annotations["val"], classwise=True)
test_evaluator = val_evaluator

head = dict(num_classes=len(classes))
model = dict(roi_head=dict(bbox_head=head, mask_head=head))
# Faster R-CNN on the same data: for configs that inherit one of Mask R-CNN
boxes = dict(type="LoadAnnotations", with_bbox=True)
boxes_only = dict(
    model=dict(type="FasterRCNN", roi_head=dict(mask_roi_extractor=None, mask_head=None)),
    train=dict(dataset=dict(pipeline=[train_pipeline[0], boxes, *train_pipeline[2:]])),
    val=dict(dataset=dict(pipeline=[*test_pipeline[:2], boxes, test_pipeline[3]])),
)

train_cfg = dict(max_epochs=epochs)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, begin=0, end=1, convert_to_iter_based=True),
    dict(
        type="CosineAnnealingLR",
        eta_min_ratio=0.01,
        begin=0,
        end=epochs,
        convert_to_iter_based=True,
    ),
]
auto_scale_lr = dict(enable=False, base_batch_size=batch)
