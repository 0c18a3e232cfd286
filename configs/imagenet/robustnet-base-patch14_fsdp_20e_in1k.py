"""RobustNet base-patch14, its weights, gradients and AdamW states sharded over the GPUs.

    tools/dist_train.sh configs/imagenet/robustnet-base-patch14_fsdp_20e_in1k.py 8

With 670 M parameters every GPU otherwise holds 10.7 GB of them in float32. Not trained by this
project.
Checkpoints are those of the unsharded network.
"""

_base_ = "./robustnet-base-patch14_20e_in1k.py"

runner_type = "FlexibleRunner"
strategy = dict(
    type="FSDPStrategy",
    model_wrapper=dict(
        type="MMFullyShardedDataParallel", auto_wrap_policy="robustnet_mm.wrap_blocks"
    ),
    state_dict_cfg="full",
)
