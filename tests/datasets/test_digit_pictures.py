import cv2
import numpy as np
import pytest

from robustnet_mm.datasets.digit_pictures import (
    PHOTOS,
    draw_digit,
    load_glyphs,
    load_photos,
    make_scene,
)


def test_masks_of_one_scene_never_share_a_pixel_although_digits_overlap():
    photos, (glyphs, labels) = load_photos("val"), load_glyphs("val")
    covered = 0
    for seed in range(40):
        _, digits = make_scene(photos, glyphs, labels, np.random.default_rng(seed))
        masks = np.stack([mask for _, mask in digits])
        assert 1 <= len(digits) <= 5 and masks.sum(0).max() == 1
        boxes = [cv2.boundingRect(mask.astype(np.uint8)) for mask in masks]
        covered += any(
            masks[j][y : y + h, x : x + w].any()
            for i, (x, y, w, h) in enumerate(boxes)
            for j in range(len(masks))
            if i != j
        )
    assert covered > 3  # boxes do overlap, or the assertion above shows nothing


def test_no_digit_and_no_photograph_of_train_is_in_val():
    assert not set(PHOTOS["train"].split()) & set(PHOTOS["val"].split())
    train, val = load_glyphs("train")[0], load_glyphs("val")[0]
    assert len(train) + len(val) == 1797
    same = {glyph.tobytes() for glyph in train} & {glyph.tobytes() for glyph in val}
    assert not same


@pytest.mark.parametrize("size", [24, 50, 96])
def test_a_digit_is_drawn_as_long_as_asked(size):
    glyph = load_glyphs("train")[0][0]
    opacity = draw_digit(glyph, size, np.random.default_rng(0))
    assert max(opacity.shape) == size and opacity.min() >= 0 and opacity.max() == 1
    assert 0.1 < (opacity > 0.5).mean() < 0.9
