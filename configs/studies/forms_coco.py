"""What exchanges and neck are made of, in detection of photographs, 320 x 200 px, 6 epochs.

    DATA_ROOT=data/own CNN_WEIGHTS=mobilenet_v2.pth VIT_WEIGHTS=deit_tiny_patch16_224.pth \
        python tools/analysis_tools/study.py configs/studies/forms_coco.py

The eight classes with the most boxes in a few hundred photographs of COCO; with all 80 the mAP
at IoU 0.5 was 0.02 (docs/results.md). The recipe was tuned for none of the rows. Results:
docs/evidence.md.
"""

_base_ = "../_base_/study_towers.py"

base = "{{ fileDirname }}/../coco/mask-rcnn_robustnet-tiny-patch16_fpn_1x_coco.py"
seeds = [0, 1, 2]
metric = "coco/bbox_mAP_50"
_loader = dict(num_workers=0, persistent_workers=False)
_scale = (320, 200)
# in the order of the file, which is that of the labels
_classes = ("person", "car", "bottle", "cup", "bowl", "chair", "dining table", "book")
_root = "{{$DATA_ROOT:data/own}}/"
_own = dict(data_root=_root, data_prefix=dict(img="images/"), metainfo=dict(classes=_classes))
_narrow = dict(in_channels=64)  # as the FPN of all rows
_towers = dict(type="robustnet_mm.RobustNet", cnn=_base_._cnn, vit=_base_._vit, weave="even")
common = {
    "model.backbone": dict(_delete_=True, **_towers),
    "model.neck": [
        dict(type="robustnet_mm.TowerNeck", in_channels=[24, 32, 96, 320], embed_dims=192),
        _base_._fpn,
    ],
    "model.rpn_head": dict(**_narrow, feat_channels=64),
    "model.rpn_head.anchor_generator.strides": [4, 8, 16, 32],
    "model.roi_head.bbox_roi_extractor.out_channels": 64,
    "model.roi_head.mask_roi_extractor.out_channels": 64,
    "model.roi_head.bbox_head": dict(**_narrow, fc_out_channels=256, num_classes=len(_classes)),
    "model.roi_head.mask_head": dict(**_narrow, conv_out_channels=64, num_classes=len(_classes)),
    "model.train_cfg.rcnn.sampler.num": 64,
    "model.train_cfg.rpn_proposal": dict(nms_pre=300, max_per_img=200),
    "train_dataloader": dict(**_loader, batch_size=4),
    "train_dataloader.dataset": dict(**_own, ann_file="annotations/instances_train.json"),
    "train_dataloader.dataset.pipeline.2.scale": _scale,
    "val_dataloader": _loader,
    "val_dataloader.dataset": dict(**_own, ann_file="annotations/instances_val.json"),
    "val_evaluator.ann_file": _root + "annotations/instances_val.json",
    "val_dataloader.dataset.pipeline.1.scale": _scale,
    "optim_wrapper": dict(
        optimizer=dict(lr=1e-3, weight_decay=0.05),
        paramwise_cfg=dict(_delete_=True, cnn=dict(lr_mult=0.2), vit=dict(lr_mult=0.1)),
    ),
    "train_cfg.max_epochs": 6,
    "train_cfg.val_interval": 6,
    "param_scheduler": [
        dict(type="LinearLR", start_factor=0.02, by_epoch=False, begin=0, end=50),
        dict(
            type="CosineAnnealingLR", eta_min_ratio=0.02, begin=0, end=6, convert_to_iter_based=True
        ),
    ],
}
_none = _base_._none
_neck = {"model.neck.0.form": "gated"}
grid = dict(
    row=dict(
        none=_none,
        none_gated={**_none, **_neck},
        gated={"model.backbone.form": "gated", **_neck},
        zero={},
        zero_fast={"optim_wrapper.paramwise_cfg.fius": dict(lr_mult=5.0)},
        cnn=_base_._cnn_alone,
        vit=_base_._vit_alone,
    ),
)
ensembles = dict(united=("cnn", "vit"))
controls = ["none", "none_gated", "gated", "cnn", "vit"]
