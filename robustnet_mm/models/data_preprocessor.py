"""Telling the backbone which pixels of a batch are padding, through any host's detector."""

from mmengine.model import BaseDataPreprocessor

from robustnet_mm.registry import MODELS


@MODELS.register_module()
class SizedDataPreprocessor(BaseDataPreprocessor):
    """A host's data preprocessor, whose batch remembers the size of each image.

    Hosts pad the images of a batch to one size, and pass only the padded batch to the backbone.
    With this around their preprocessor, `RobustNet` finds the sizes on the batch itself, as
    `images.image_sizes`, and the tokens of an image do not depend on its neighbours.

    Args:
        preprocessor: Config of the host's, e.g. `dict(type='mmdet.DetDataPreprocessor', ...)`.
    """

    def __init__(self, preprocessor: dict):
        super().__init__()
        self.preprocessor = MODELS.build(preprocessor)

    def forward(self, data: dict, training: bool = False) -> dict:
        """As the host's; `data['inputs'].image_sizes` is ((height, width), ...) of the images.

        Where the samples do not say their `img_shape`, there are no sizes.
        """
        data = self.preprocessor(data, training)
        shapes = [sample.get("img_shape") for sample in data.get("data_samples") or ()]
        if shapes and None not in shapes:
            data["inputs"].image_sizes = tuple((shape[0], shape[1]) for shape in shapes)
        return data
