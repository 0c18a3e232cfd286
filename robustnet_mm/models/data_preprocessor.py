"""Telling the backbone which pixels of a batch are padding, through any host's detector."""

from mmengine.model import BaseDataPreprocessor

from robustnet_mm.arguments import check_dict
from robustnet_mm.registry import MODELS, build_part

from .sized_images import SizedImages


@MODELS.register_module()
class SizedDataPreprocessor(BaseDataPreprocessor):
    """A host's data preprocessor, whose batch remembers the size of each image.

    Hosts pad the images of a batch to one size, and pass only the padded batch to the backbone.
    With this around their preprocessor, that batch is of `SizedImages`; see `ViTTower.embed` for
    what `RobustNet` and `ViTTower` do with the sizes.

    Args:
        preprocessor: Config of the host's, e.g. `dict(type='mmdet.DetDataPreprocessor', ...)`.
        batch_augments: What mmpretrain's classifier hands to its preprocessor. Where images of a
            batch are mixed, there are no sizes in training.

    Raises:
        ValueError: `preprocessor` is no config, or the host refuses it.
    """

    def __init__(self, preprocessor: dict, batch_augments: dict | None = None):
        super().__init__()
        example = "dict(type='mmdet.DetDataPreprocessor')"
        check_dict("preprocessor", preprocessor, example)
        if batch_augments is not None:
            check_dict("batch_augments", batch_augments, "dict(augments=dict(type='Mixup'))")
            preprocessor = dict(preprocessor, batch_augments=batch_augments)
        self.preprocessor = build_part("preprocessor", preprocessor, example)

    def forward(self, data: dict, training: bool = False) -> dict:
        """As the host's; `data['inputs']` are `SizedImages`.

        Where the samples do not say their `img_shape`, they are a plain tensor.
        """
        data = self.preprocessor(data, training)
        shapes = [sample.get("img_shape") for sample in data.get("data_samples") or ()]
        mixed = training and getattr(self.preprocessor, "batch_augments", None) is not None
        if shapes and None not in shapes and not mixed:
            data["inputs"] = SizedImages.of(data["inputs"], [shape[:2] for shape in shapes])
        return data
