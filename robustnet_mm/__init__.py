"""RobustNet for OpenMMLab: a pretrained CNN and a pretrained ViT woven into one backbone.

Importing the package costs nothing: the hosts find its parts through `robustnet_mm.registry`.
"""

__version__ = "0.1.0"
