import pytest
import torch
from helpers import apart, classifier, close, host_classifier, photos

from robustnet_mm.look import closed_exchanges, compare_towers
from robustnet_mm.look.closing import has_tower_neck, without_cnn_maps
from robustnet_mm.models import TowerNeck
from robustnet_mm.models.fiu import FORMS


@pytest.mark.parametrize("form", FORMS)
def test_with_closed_exchanges_each_tower_computes_what_it_computes_alone(form):
    model, images = classifier(form=form), photos()
    net = model.backbone
    with torch.no_grad():
        opened = net(images)
        with closed_exchanges(model):
            closed = net(images)
        assert torch.equal(closed.tokens, net.vit(images)[0])
        for one, alone in zip(closed.maps, net.cnn(images), strict=True):
            assert torch.equal(one, alone)
        assert apart(opened.tokens, closed.tokens)
        assert torch.equal(net(images).tokens, opened.tokens)


def test_compared_are_both_heads_alone_their_sum_and_the_woven_network():
    model, images = classifier(), photos(2)
    found = compare_towers(model, images)
    assert list(found) == ["cnn only", "vit only", "sum, exchanges closed", "both"]
    with torch.no_grad():
        cnn, vit, _ = model.head(model.backbone(images))
        close(found["both"], (cnn + vit).softmax(1))
        alone = classifier(opened=False, direction="none")
        alone.load_state_dict(model.state_dict(), strict=False)
        cnn, vit, _ = alone.head(alone.backbone(images))
    close(found["cnn only"], cnn.softmax(1))
    close(found["vit only"], vit.softmax(1))
    close(found["sum, exchanges closed"], (cnn + vit).softmax(1))


def test_a_neck_sees_the_cnns_maps_alone_or_the_tokens_alone():
    model, images = classifier(), photos()
    model.neck = neck = TowerNeck([32, 64, 128, 256], 96)
    for linear in neck.linears:
        torch.nn.init.normal_(linear.weight)
    with torch.no_grad():
        with closed_exchanges(model):
            outputs = model.backbone(images)
            for one, alone in zip(neck(outputs), outputs.maps, strict=True):
                assert torch.equal(one, alone)
        with without_cnn_maps(model):
            outputs = model.backbone(images)
            blank = outputs._replace(maps=tuple(torch.zeros_like(m) for m in outputs.maps))
            alone = neck(outputs)
        for one, expected in zip(alone, neck(blank), strict=True):
            assert torch.equal(one, expected) and one.any()


def test_models_without_what_is_compared_are_named():
    with pytest.raises(ValueError, match="through a robustnet_mm.TowerNeck, and this config"):
        with without_cnn_maps(classifier()):
            pass
    assert not has_tower_neck(classifier())
    with pytest.raises(ValueError, match="compare needs a TwoTowerHead, got ImageClassifier"):
        compare_towers(host_classifier(), photos())
