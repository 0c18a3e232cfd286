"""RobustNet large-patch16 in the authors' setting: ViT frozen, ViT to CNN only, no gates.

    tools/dist_train.sh configs/imagenet/robustnet-large-patch16_authors-setting_20e_in1k.py 8

Not trained by this project: no woven weights exist. To compare with
`robustnet-large-patch16_20e_in1k.py`, whose files it takes (MAE: CC BY-NC 4.0, non-commercial;
Conformer: Apache-2.0): these are the committed defaults of the authors' code. Without gates the
CNN's pretrained features are disturbed from the first step on. Both classifiers learn.
Published: 85.4 woven; 85.95 / 84.1 the ViT / the CNN alone.
"""

_base_ = "./robustnet-large-patch16_20e_in1k.py"
model = dict(
    backbone=dict(
        direction="vit_to_cnn",
        form="ungated",
        vit=dict(frozen_stages=24, drop_path_rate=0.0),  # all of its blocks; no noise in them
    )
)
