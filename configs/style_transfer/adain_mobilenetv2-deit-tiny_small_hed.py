"""The same with AdaIN in place of attention: the transfer learns nothing."""

_base_ = "./attention_mobilenetv2-deit-tiny_small_hed.py"

model = dict(transfer="adain")
