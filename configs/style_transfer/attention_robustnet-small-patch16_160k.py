"""Style transfer with the paper's RN-small and its recipe: COCO x WikiArt, Adam 1e-5, 160k.

    CONTENTS=data/coco/train2017 STYLES=data/wikiart TEST_CONTENTS=... TEST_STYLES=... \
        tools/dist_train.sh configs/style_transfer/attention_robustnet-small-patch16_160k.py 8

Not trained by this project. Each tower starts from a public file, to be put into `checkpoints/`:
mae_finetuned_vit_base.pth (CC BY-NC 4.0: non-commercial) and Conformer_small_patch16.pth
(Apache-2.0); where they are: configs/imagenet/robustnet-small-patch16_20e_in1k.py.
"""

_base_ = "../_base_/style_transfer.py"

cnn_start, vit_start = (
    dict(type="robustnet_mm.PretrainedTower", checkpoint=f"checkpoints/{name}")
    for name in ("Conformer_small_patch16.pth", "mae_finetuned_vit_base.pth")
)
model = dict(
    backbone=dict(
        arch="small-patch16",
        cnn=dict(init_cfg=cnn_start, norm_eval=True),
        vit=dict(init_cfg=vit_start),
    )
)
optim_wrapper = dict(optimizer=dict(lr=1e-5))
param_scheduler = []
