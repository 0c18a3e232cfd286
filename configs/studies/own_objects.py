"""Does weaving pay in finding objects of photographs, small ones too? Mask R-CNN, 384 px, 4 epochs.

    python tools/dataset_converters/draw_subset.py data/coco data/objects train=train:280 \
        val=val:63 --merge object
    DATA_ROOT=data/objects IMAGE_SIZE=384 EPOCHS=4 BATCH=4 CNN_WEIGHTS=mobilenet_v2.pth \
        VIT_WEIGHTS=deit_tiny_patch16_224.pth \
        python tools/analysis_tools/study.py configs/studies/own_objects.py

The own-data Mask R-CNN on annotations with a single category: a few hundred photographs tell
objects from background, and hardly 80 classes. `vit` is ViTDet's pyramid. The recipe is that of the
config and was tuned for none of the rows; size, epochs and batch are those of the variables. mAP by
object size is in results.json for each row, not for the united detections. One seed:
docs/evidence.md.
"""

_base_ = "../_base_/study_towers.py"

base = "{{ fileDirname }}/../own_data/mask-rcnn_mobilenetv2-deit-tiny_own-coco.py"
seeds = [0, 1, 2]
metric = "coco/bbox_mAP"
_loader = dict(num_workers=0, persistent_workers=False)
common = {
    "train_dataloader": _loader,
    "val_dataloader": _loader,
    "val_evaluator.classwise": False,
}
grid = dict(
    row=dict(
        none=_base_._none,
        both={},
        cnn={**_base_._cnn_alone, "model.neck": [dict(_base_._fpn, num_outs=5)]},
        vit={**_base_._vit_alone, "model.neck": [dict(_base_._pyramid, num_outs=5)]},
    ),
)
ensembles = dict(united=("cnn", "vit"))
controls = ["cnn", "vit", "united", "none"]
