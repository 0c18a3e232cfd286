"""COCO-Stuff 164k, 171 classes: data/coco_stuff164k as mmseg prepares it."""

_base_ = ["./segformer_80k.py", "mmseg::_base_/datasets/coco-stuff164k.py"]
train_dataloader = dict(batch_size=2)
model = dict(decode_head=dict(num_classes=171))
