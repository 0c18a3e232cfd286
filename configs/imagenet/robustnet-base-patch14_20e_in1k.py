"""RobustNet base-patch14 on ImageNet-1k: the paper's RN-base-patch14 (published top-1: 86.5).

    tools/dist_train.sh configs/imagenet/robustnet-base-patch14_20e_in1k.py 8

Not trained by this project: no woven weights exist. Each tower and its classifier start from a
public file, to be put into `checkpoints/`:
- mae_finetuned_vit_huge.pth, https://dl.fbaipublicfiles.com/mae/finetune/mae_finetuned_vit_huge.pth
  (licence CC BY-NC 4.0: non-commercial)
- Conformer_base_patch16.pth, linked in the README of github.com/pengzhiliang/Conformer
  (licence Apache-2.0)
Exchanges in both directions; drop path 0.1 in the ViT comes from the base.
"""

_base_ = "../_base_/imagenet_20e.py"
mae = "checkpoints/mae_finetuned_vit_huge.pth"
conformer = "checkpoints/Conformer_base_patch16.pth"
vit_start = dict(type="robustnet_mm.PretrainedTower", checkpoint=mae)
cnn_start = dict(type="robustnet_mm.PretrainedTower", checkpoint=conformer)
model = dict(
    backbone=dict(arch="base-patch14", cnn=dict(init_cfg=cnn_start), vit=dict(init_cfg=vit_start)),
    head=dict(
        cnn=dict(in_channels=1536, init_cfg=cnn_start),
        vit=dict(in_channels=1280, pool="avg", init_cfg=vit_start),  # norms the mean, as MAE does
    ),
)
