"""The table of hosts, and the backbone inside models that this package has no config for."""

import pytest
import torch
from mmengine.hub import get_config
from mmengine.registry import METRICS, DefaultScope
from mmengine.registry import MODELS as ROOT_MODELS

from robustnet_mm.hosts import HOSTS, host_of

BACKBONE = dict(type="robustnet_mm.RobustNet", arch="nano", out_type="pyramid")
CHANNELS = [32, 64, 128, 256]


@pytest.mark.parametrize("scope", HOSTS)
def test_what_a_row_says_of_its_host_is_there(scope):
    host = host_of(dict(default_scope=scope))
    assert host.sample_type()(metainfo=dict(img_shape=(2, 3))).img_shape == (2, 3)
    assert METRICS.get(host.dump)
    assert host.tta_model is None or ROOT_MODELS.get(f"{scope}.{host.tta_model['type']}")


def test_an_unknown_scope_is_named_with_those_that_are_known():
    for scope in ("mmocr", None):
        with pytest.raises(
            ValueError, match=rf"one of mmdet, mmpretrain, mmseg, mmengine, got {scope!r}: "
        ):
            host_of(dict(default_scope=scope))


def test_tools_that_look_at_images_refuse_what_paints_them():
    with pytest.raises(ValueError, match="one of mmdet, mmpretrain, mmseg here, got 'mmengine'"):
        host_of(dict(default_scope="mmengine"), of_images=True)


def test_retinanet_takes_the_neck_from_the_level_where_its_own_starts():
    from mmdet.testing import demo_mm_inputs

    cfg = get_config("mmdet::retinanet/retinanet_r50_fpn_1x_coco.py")
    cfg.model.backbone = dict(type="robustnet_mm.RobustNet", arch="nano")
    levels = dict(in_channels=CHANNELS, start_level=1)
    fpn = {**cfg.model.neck, **levels}
    cfg.model.neck = [dict(type="robustnet_mm.TowerNeck", embed_dims=96, **levels), fpn]
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = ROOT_MODELS.build(cfg.model)
    data = model.data_preprocessor(demo_mm_inputs(2, [(3, 96, 128), (3, 80, 96)]), training=True)
    model.parse_losses(model(**data, mode="loss"))[0].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_mmsegs_encoder_decoder_takes_the_pyramid_as_it_is():
    pytest.importorskip("mmseg")
    head = dict(type="UPerHead", in_channels=CHANNELS, in_index=[0, 1, 2, 3], channels=16)
    cfg = dict(
        type="EncoderDecoder",
        data_preprocessor=dict(type="SegDataPreProcessor"),
        backbone=BACKBONE,
        decode_head=dict(**head, num_classes=5, norm_cfg=dict(type="BN")),
        test_cfg=dict(mode="whole"),
    )
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = ROOT_MODELS.build(cfg).eval()
    assert model(torch.randn(1, 3, 64, 96)).shape == (1, 5, 16, 24)
