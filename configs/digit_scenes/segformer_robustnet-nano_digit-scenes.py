"""RobustNet nano with SegFormer's head on the label maps of DigitScenes, 12 epochs on a CPU.

    DATA_ROOT=data/digit_scenes IMAGE_SIZE=192 EPOCHS=12 BATCH=2 python tools/train.py \
        configs/digit_scenes/segformer_robustnet-nano_digit-scenes.py

`python tools/demo.py` makes the data. It starts from the classifier that
`robustnet-nano_5e_crops.py` leaves in its work dir; from scratch: `--cfg-options
model.backbone.init_cfg=None`. Results: docs/segmentation.md.
"""

_base_ = ["../_base_/own_masks.py", "../_base_/nano_digit_scenes.py"]

_loader = dict(num_workers=0, persistent_workers=False)
_train = [step for step in _base_.train_pipeline if step["type"] != "RandomFlip"]  # another sign
train_dataloader = dict(
    **_loader,
    dataset=dict(data_prefix=dict(img_path="scenes/train"), pipeline=_train),
)
val_dataloader = dict(**_loader, dataset=dict(data_prefix=dict(img_path="scenes/val")))
test_dataloader = val_dataloader
model = dict(
    backbone=_base_.nano,
    neck=dict(type="robustnet_mm.TowerNeck", in_channels=_base_.levels, embed_dims=96),
    decode_head=dict(in_channels=_base_.levels, channels=64),
)
optim_wrapper = dict(paramwise_cfg=dict(_delete_=True))  # one rate for all
