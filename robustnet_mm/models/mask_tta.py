"""Test-time augmentation of Mask R-CNN, which mmdet refuses: boxes merged, masks averaged."""

from collections.abc import Mapping

import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseTTAModel
from torch import Tensor, nn

from robustnet_mm.registry import MODELS


@MODELS.register_module()
class MaskTTAModel(BaseTTAModel):
    """A detector with a mask head, asked about several views (flips, scales) of each image.

    The boxes of all views are merged by mmdet's `DetTTAModel`. Then each view is asked for the
    masks in the merged boxes, and the probabilities, flipped back, are averaged in the mask head's
    own pixels, before they are pasted into the image and cut at the threshold. So a mask belongs to
    the box beside it, which a merger of pasted masks could not promise.

    Args:
        tta_cfg: `nms` and `max_per_img` of the merged boxes, as for `DetTTAModel`.
        module: The detector; its RoI head must be mmdet's StandardRoIHead.
        data_preprocessor: As in mmengine.

    Raises:
        ValueError: Another RoI head, or none with masks.
    """

    def __init__(
        self,
        tta_cfg: Mapping,
        module: Mapping | nn.Module,
        data_preprocessor: Mapping | None = None,
    ):
        from mmdet.models.test_time_augs import DetTTAModel

        super().__init__(module, data_preprocessor)
        roi_head = getattr(self.module, "roi_head", None)
        kind = type(roi_head).__name__
        panoptic = hasattr(self.module, "panoptic_fusion_head")
        plain = kind == "StandardRoIHead" and roi_head.with_mask and not roi_head.with_shared_head
        if panoptic or not plain:
            raise ValueError(
                "MaskTTAModel needs model.roi_head.type='StandardRoIHead' with a mask_head and no "
                f"shared_head, got {kind} of {type(self.module).__name__}: test without --tta"
            )
        of_boxes = DetTTAModel(ConfigDict(tta_cfg), module=self.module)
        self._of_boxes = [of_boxes]  # in a list: the detector is a child once

    def merge_preds(self, data_samples_list: list) -> list:
        """Samples of boxes without masks, view by view of each image -> one for each image."""
        return self._of_boxes[0].merge_preds(data_samples_list)

    @torch.no_grad()
    def test_step(self, data: Mapping) -> list:
        """Views of a batch, as `TestTimeAug` and `pseudo_collate` give them -> merged samples.

        Args:
            data: `inputs` and `data_samples`, each a list of views of lists of images.
        """
        features, metas, found = [], [], []
        for view in range(len(data["inputs"])):
            one = {key: value[view] for key, value in data.items()}
            one = self.module.data_preprocessor(one, False)
            features.append(self.module.extract_feat(one["inputs"]))
            metas.append([sample.metainfo for sample in one["data_samples"]])
            found.append(self._boxes(features[-1], one["data_samples"]))
        merged = self.merge_preds([list(views) for views in zip(*found, strict=True)])
        boxes = [sample.pred_instances.bboxes for sample in merged]
        views = [self._masks(*each, boxes) for each in zip(features, metas, strict=True)]
        masks = torch.stack(views).mean(0).split([len(each) for each in boxes])
        whole = [dict(sample.metainfo, scale_factor=(1.0, 1.0)) for sample in merged]
        roi_head = self.module.roi_head
        results = roi_head.mask_head.predict_by_feat(
            masks,
            [sample.pred_instances for sample in merged],
            whole,
            roi_head.test_cfg,
            rescale=True,
            activate_map=True,
        )
        return self.module.add_pred_to_datasample(merged, results)

    def _boxes(self, features: tuple, samples: list) -> list:
        """Samples with the boxes of one view, in pixels of the whole image, still flipped."""
        proposals = self.module.rpn_head.predict(features, samples, rescale=False)
        metas = [sample.metainfo for sample in samples]
        roi_head = self.module.roi_head
        found = roi_head.predict_bbox(features, metas, proposals, roi_head.test_cfg, rescale=True)
        return self.module.add_pred_to_datasample(samples, found)

    def _masks(self, features: tuple, metas: list[dict], boxes: list[Tensor]) -> Tensor:
        """Probabilities (boxes of all images, classes, h, w), as if the view were not flipped.

        Args:
            features: Of one view.
            metas: Of its images.
            boxes: Of each image, (K, 4), in pixels of the whole image.
        """
        from mmdet.structures.bbox import bbox2roi, bbox_flip

        rois, turned = [], []
        for meta, of_image in zip(metas, boxes, strict=True):
            direction = meta["flip_direction"] if meta.get("flip") else None
            if direction:
                of_image = bbox_flip(of_image, meta["ori_shape"], direction)
            rois.append(of_image * of_image.new_tensor(meta["scale_factor"]).repeat(2))
            turned += [direction] * len(of_image)
        roi_head = self.module.roi_head
        extractor = roi_head.mask_roi_extractor
        inside = extractor(features[: extractor.num_inputs], bbox2roi(rois))
        masks = roi_head.mask_head(inside).sigmoid()
        back = dict(horizontal=[-1], vertical=[-2], diagonal=[-2, -1])
        for index, direction in enumerate(turned):
            if direction:
                masks[index] = masks[index].flip(back[direction])
        return masks
