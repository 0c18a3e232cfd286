"""mmcv's operators on torchvision, for an mmcv that was installed without its compiled extension.

torchvision's wheels carry the same operators, compiled, for CPU and CUDA. `extension` speaks mmcv's
names and arguments; `place` puts it at `mmcv._ext`, where mmcv looks for its own, and never in
front of compiled operators.

    python -m robustnet_mm.ops            which operators mmcv uses
    python -m robustnet_mm.ops install    let every program that imports mmcv find these
    python -m robustnet_mm.ops remove     take them away again
"""
