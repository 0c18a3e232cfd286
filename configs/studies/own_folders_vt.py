"""Are tokens as good as the convolutions they replace? VT-ResNet-18 from scratch, 96 px, 10 epochs.

    DATA_ROOT=data/own IMAGE_SIZE=96 EPOCHS=10 python tools/analysis_tools/study.py \
        configs/studies/own_folders_vt.py

Images of ten classes in `train/NAME/*` and `val/NAME/*`. `vt` is the paper's, `filters` has no
recurrence, `cluster` and `pooling` have another first tokenizer. Results: docs/visual-tokens.md.
"""

base = "{{ fileDirname }}/../own_data/vt-resnet_own-folders.py"
seeds = [0, 1, 2]
metric = "accuracy/top1"
_loader = dict(num_workers=0, persistent_workers=False)
common = {
    "train_dataloader": _loader,
    "val_dataloader": _loader,
    "optim_wrapper.paramwise_cfg.cnn.lr_mult": 1.0,
}
_scratch = {"model.backbone.cnn": None}
_tokenizer = "model.backbone.tokenizer"
grid = dict(
    row=dict(
        vt=_scratch,
        resnet={
            "model.backbone": dict(
                _delete_=True, type="robustnet_mm.TimmCNNTower", model_name="resnet18"
            ),
            "model.neck": dict(type="GlobalAveragePooling"),
            "model.head": dict(
                _delete_=True, type="LinearClsHead", num_classes=10, in_channels=512
            ),
        },
        filters={**_scratch, "model.backbone.recurrent": False},
        cluster={**_scratch, _tokenizer: "cluster"},
        pooling={**_scratch, _tokenizer: "pooling"},
    )
)
controls = ["resnet", "filters", "cluster", "pooling"]
