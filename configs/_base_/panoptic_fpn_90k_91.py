"""The 91 stuff classes of COCO-Stuff, as in Wu et al. 2021: what is a thing is not looked at."""

_base_ = "./panoptic_fpn_90k.py"

from mmseg import datasets

stuff = datasets.COCOStuffDataset.METAINFO["classes"][80:]
_labels = dict(metainfo=dict(classes=stuff))
train_dataloader = dict(dataset=_labels)
val_dataloader = dict(dataset=_labels)
test_dataloader = val_dataloader
model = dict(decode_head=dict(num_classes=len(stuff)))
