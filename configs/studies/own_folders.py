"""Does weaving pay in fine-tuning? MobileNetV2 x DeiT-Tiny on small images, 128 px, 2 epochs.

    DATA_ROOT=data/own CNN_WEIGHTS=mobilenet_v2.pth VIT_WEIGHTS=deit_tiny_patch16_224.pth \
        python tools/analysis_tools/study.py configs/studies/own_folders.py --processes 2

Images in `train/NAME/*` and `test/NAME/*`. Results on 2000 images of CIFAR-10: docs/evidence.md.
"""

base = "{{ fileDirname }}/../own_data/mobilenetv2-deit-tiny_own-folders.py"
seeds = list(range(10, 20))  # not those with which rates and forms were tried
metric = "accuracy/top1"
common = {
    "train_dataloader.dataset.pipeline.1.scale": 128,
    "val_dataloader.dataset.pipeline.1.scale": 128,
    "val_dataloader.dataset.pipeline.2.crop_size": 128,
    "val_dataloader.dataset.data_prefix": "test",
    "train_dataloader.num_workers": 0,
    "val_dataloader.num_workers": 0,
    "train_dataloader.persistent_workers": False,
    "val_dataloader.persistent_workers": False,
    "train_cfg.max_epochs": 2,
    "param_scheduler.0.end": 0.5,
    "param_scheduler.1.begin": 0.5,
    "param_scheduler.1.end": 2,
    "optim_wrapper.paramwise_cfg.fius": dict(lr_mult=1.0),  # gated ones were measured at 5
}
_none = {"model.backbone.direction": "none"}
_losses = "model.head.loss_weights"
grid = dict(
    row=dict(
        none=_none,
        both={},
        cnn={**_none, _losses: (1, 0), "model.backbone.vit.frozen_stages": 12},
        vit={**_none, _losses: (0, 1), "model.backbone.cnn.frozen_stages": 4},
    )
)
reads = dict(cnn="accuracy/top1_cnn", vit="accuracy/top1_vit")
ensembles = dict(logit_sum=("cnn", "vit"))
controls = ["cnn", "vit", "logit_sum", "none"]
