"""The paper's style transfer tested on 10 contents x 21 styles: the protocol of its Table 4.

    TEST_CONTENTS=... TEST_STYLES=... tools/dist_test.sh \
        configs/style_transfer/attention_robustnet-small-patch16_160k_10x21.py CHECKPOINT 8

Not trained by this project.
"""

_base_ = "./attention_robustnet-small-patch16_160k.py"

test_dataloader = dict(dataset=dict(limit=(10, 21)))
val_dataloader = test_dataloader
