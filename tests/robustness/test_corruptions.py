"""Corrupted images: the same in every run, and nothing else is disturbed."""

import cv2
import numpy as np
import pytest
from mmengine.registry import TRANSFORMS
from PIL import Image

from robustnet_mm.robustness import CORRUPTIONS, EXTRA, Corrupt

imagecorruptions = pytest.importorskip("imagecorruptions")


def photograph(height=40, width=56, seed=0):
    """Smooth colours, BGR."""
    noise = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def corrupted(image, *args, **kwargs):
    return Corrupt(*args, **kwargs).transform(dict(img=image.copy()))["img"]


@pytest.mark.parametrize("name", CORRUPTIONS + EXTRA)
def test_an_image_is_corrupted_alike_in_every_run_and_no_generator_is_touched(name):
    image = photograph()
    once = corrupted(image, name, 3)
    assert once.shape == image.shape and once.dtype == np.uint8
    assert (once != image).mean() > 0.05
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    assert np.array_equal(corrupted(image, name, 3), once)
    assert np.array_equal(np.random.get_state()[1], before)


def test_the_names_are_those_of_the_library():
    assert list(CORRUPTIONS) == imagecorruptions.get_corruption_names("common")
    assert list(EXTRA) == imagecorruptions.get_corruption_names("validation")


@pytest.mark.parametrize("name", ["gaussian_noise", "impulse_noise"])
def test_two_images_and_two_seeds_get_noise_of_their_own(name):
    grey = np.full((40, 56, 3), 128, np.uint8)
    other = grey.copy()
    other[0, 0] = 127
    noise = corrupted(grey, name, 5)
    for one in (corrupted(other, name, 5), corrupted(grey, name, 5, seed=1)):
        assert (one[1:] != noise[1:]).mean() > 0.1


def test_colours_reach_the_library_in_its_own_order():
    image = photograph()
    expected = imagecorruptions.corrupt(image[..., ::-1].copy(), 5, "jpeg_compression")[..., ::-1]
    assert np.array_equal(corrupted(image, "jpeg_compression", 5), expected)


def test_a_harder_severity_takes_more():
    image = photograph(64, 64)
    errors = [
        np.abs(corrupted(image, "gaussian_noise", k).astype(int) - image).mean()
        for k in range(1, 6)
    ]
    assert errors == sorted(errors)


def test_what_was_corrupted_once_is_found_again(tmp_path):
    step = TRANSFORMS.build(
        dict(type="robustnet_mm.Corrupt", corruption="fog", severity=2, cache_dir=str(tmp_path))
    )
    image = photograph()
    made = step.transform(dict(img=image))["img"]
    (file,) = tmp_path.rglob("*.png")
    assert file.parent.name == "fog-2" and np.array_equal(cv2.imread(str(file)), made)
    assert np.array_equal(made, corrupted(image, "fog", 2))
    cv2.imwrite(str(file), 255 - made)
    assert np.array_equal(step.transform(dict(img=image))["img"], 255 - made)
    file.write_bytes(b"cut")  # a broken one is made anew
    assert np.array_equal(step.transform(dict(img=image))["img"], made)


@pytest.mark.parametrize(
    "arguments, image, message",
    [
        (("fogg",), None, "corruption must be one of gaussian_noise, .*got 'fogg'.*'fog'"),
        (("fog", 6), None, r"severity must be in 1\.\.5, got 6"),
        (("fog",), photograph(31, 80), "32 pixels a side, and None has 31 x 80"),
        (("fog",), photograph().astype(np.float32), r"of 8 bits, got \(40, 56, 3\) float32"),
        (("fog",), photograph()[..., 0], r"got \(40, 56\) uint8"),
    ],
)
def test_what_cannot_be_corrupted_says_why(arguments, image, message):
    with pytest.raises(ValueError, match=message):
        Corrupt(*arguments).transform(dict(img=image))


def test_pillow_sees_what_the_network_sees():
    image = photograph()
    step = Corrupt("pixelate", 5)
    small = Image.fromarray(image[..., ::-1]).resize((int(56 * 0.25), int(40 * 0.25)), Image.BOX)
    expected = np.asarray(small.resize((56, 40), Image.NEAREST))[..., ::-1]
    assert np.array_equal(step.transform(dict(img=image))["img"], expected)
