"""RobustNet nano with SegFormer's head on the label maps of DigitScenes, 12 epochs on a CPU.

    DATA_ROOT=data/digit_scenes IMAGE_SIZE=192 EPOCHS=12 BATCH=8 python tools/train.py \
        configs/digit_scenes/segformer_robustnet-nano_digit-scenes.py

`python tools/demo.py` makes the data. Not trained yet to the end by this project.
"""

_base_ = "../_base_/own_masks.py"

widths = [32, 64, 128, 256]
_loader = dict(num_workers=0, persistent_workers=False)
_train = [step for step in _base_.train_pipeline if step["type"] != "RandomFlip"]  # another sign
train_dataloader = dict(
    **_loader,
    dataset=dict(data_prefix=dict(img_path="scenes/train"), pipeline=_train),
)
val_dataloader = dict(**_loader, dataset=dict(data_prefix=dict(img_path="scenes/val")))
test_dataloader = val_dataloader
model = dict(
    backbone=dict(arch="nano"),
    neck=dict(type="robustnet_mm.TowerNeck", in_channels=widths, embed_dims=96),
    decode_head=dict(in_channels=widths, channels=64),
)
optim_wrapper = dict(paramwise_cfg=dict(_delete_=True))  # nothing is pretrained
