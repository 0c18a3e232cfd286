"""Which modules are sharded on their own under mmengine's FSDPStrategy."""

from torch import nn
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy

from robustnet_mm.models.towers.conv import BasicBlock, Bottleneck
from robustnet_mm.models.towers.vit_families import BLOCKS
from robustnet_mm.registry import FUNCTIONS


@FUNCTIONS.register_module()
def wrap_blocks(module: nn.Module, recurse: bool, nonwrapped_numel: int) -> bool:
    """Each block of the towers is a shard of its own; all else belongs to the model's.

    The towers must not be: the weave calls their blocks, and a shard is only whole within its own
    forward pass. For `strategy.model_wrapper.auto_wrap_policy`.
    """
    blocks = {*BLOCKS, BasicBlock, Bottleneck}
    return transformer_auto_wrap_policy(module, recurse, nonwrapped_numel, blocks)
