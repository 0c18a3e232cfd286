import pytest
import torch
from helpers import CLASSES, LEARNED, apart, classifier, close, host_classifier, photos

from robustnet_mm.look import DetectionLogits, Logits, saliency, tower_scores
from robustnet_mm.look.outputs import pick_target
from robustnet_mm.models import SizedImages


def test_the_sum_of_the_heads_is_the_classifiers_prediction():
    model, images = classifier(), photos(2)
    with torch.no_grad():
        logits = {name: Logits(model, name)(images) for name in ("cnn", "vit", "sum")}
    close(logits["sum"], logits["cnn"] + logits["vit"])
    predicted = model(images, mode="predict")
    expected = torch.stack([sample.pred_score for sample in predicted])
    close(tower_scores(model, images)["sum"], expected)
    assert apart(logits["cnn"], logits["vit"])


def test_a_learned_prediction_is_explained_as_it_is_predicted():
    model, images = classifier(head=LEARNED), photos(2)
    with torch.no_grad():
        cnn, vit, found = (Logits(model, name)(images) for name in ("cnn", "vit", "sum"))
    expected = torch.stack([sample.pred_score for sample in model(images, mode="predict")])
    close(found.softmax(1), expected)
    assert apart(found, cnn + vit)


def test_a_classifier_of_the_host_has_one_output():
    model, images = host_classifier(), photos()
    assert tower_scores(model, images).keys() == {"sum"}
    assert saliency(model, images).shape == (1, 64, 96)
    with pytest.raises(ValueError, match="output='vit' needs a classifier with a TwoTowerHead"):
        saliency(model, images, "vit")


def test_wrong_outputs_classes_and_detectors_are_named():
    model, images = classifier(), photos()
    with pytest.raises(ValueError, match="output must be one of cnn, vit, sum, got 'both'"):
        Logits(model, "both")
    with pytest.raises(ValueError, match=f"target must be a class in 0..{CLASSES - 1}, got 5"):
        pick_target(Logits(model)(images), 5)
    with pytest.raises(ValueError, match=f"target must be a class in 0..{CLASSES - 1}, got 5"):
        saliency(model, images, target=5)
    with pytest.raises(ValueError, match="region head of a two-stage detector, got ImageClassifi"):
        DetectionLogits(model, torch.zeros(1, 4), torch.zeros(1))


def test_the_padding_of_an_image_is_known_to_the_tower_while_it_is_explained():
    model, images = classifier(), photos()
    whole = saliency(model, images, "vit", 0)
    images = SizedImages.of(images, ((48, 64),))
    padded = saliency(model, images, "vit", 0)
    assert whole[0, 48:].any() and whole[0, :, 64:].any()
    inside = Logits(model, "vit", images.image_sizes)
    with torch.no_grad():
        other = images.clone()
        other[..., 64:] += 1  # the CNN still sees it, the ViT's patches do not
        closed = classifier(opened=False)
        closed.load_state_dict(model.state_dict())
        for fiu in closed.backbone.fius:
            torch.nn.init.zeros_(fiu.squeeze.linear.weight)
            torch.nn.init.zeros_(fiu.squeeze.linear.bias)
        inside = Logits(closed, "vit", images.image_sizes)
        close(inside(other), inside(images))
    assert not (whole == padded).all()
