import cv2
import numpy as np
import pytest
import torch
from helpers import open_exchanges
from mmengine.registry import MODELS

from robustnet_mm.style_transfer.colors import match_colors, with_luminance_of
from robustnet_mm.style_transfer.stylizer import Stylizer, shrink, tiles

MODEL = dict(
    type="robustnet_mm.RobustStyleTransfer",
    backbone=dict(type="robustnet_mm.RobustNet", arch="nano"),
    width=64,
)


def smooth(seed, height, width):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.GaussianBlur(noise, (15, 15), 0)


CONTENT, STYLE = smooth(0, 70, 101), smooth(1, 48, 64)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("style")
    (folder / "config.py").write_text(f"default_scope = 'mmengine'\nmodel = {MODEL!r}\n")
    torch.manual_seed(0)
    model = MODELS.build(MODEL)
    open_exchanges(model.backbone)
    torch.save(dict(state_dict=model.state_dict()), folder / "model.pth")
    return folder / "config.py", folder / "model.pth"


@pytest.fixture(scope="module")
def stylize(files):
    return Stylizer(*files)


def far(one, other):
    return np.abs(one.astype(float) - other).max()


def mean_far(one, other):
    return np.abs(one.astype(float) - other).mean()


def test_a_picture_is_painted_as_by_the_model_and_twice_the_same(stylize):
    painted = stylize(CONTENT, [STYLE])
    assert painted.shape == CONTENT.shape and painted.dtype == np.uint8
    content, style = (stylize._tensor(picture) for picture in (CONTENT, STYLE))
    with torch.no_grad():
        expected = stylize.model.stylize(content, [style])[0].clamp(0, 1).permute(1, 2, 0) * 255
    assert far(painted, expected.numpy()) <= 0.51  # rounded to whole values
    assert np.array_equal(painted, stylize(CONTENT, [STYLE]))


def test_the_mask_limits_the_style_to_the_pixel(stylize):
    mask = np.zeros(CONTENT.shape[:2], np.uint8)
    mask[:, 50:] = 255
    whole, part = stylize(CONTENT, [STYLE]), stylize(CONTENT, [STYLE], mask=mask)
    assert np.array_equal(part[:, :50], CONTENT[:, :50])
    assert np.array_equal(part[:, 50:], whole[:, 50:])
    for wrong in (mask.T, mask.astype(bool), mask / 255):
        with pytest.raises(ValueError, match=r"mask must be an array \(70, 101\) uint8"):
            stylize(CONTENT, [STYLE], mask=wrong)


def test_sizes_shrink_and_never_grow(stylize):
    assert stylize(CONTENT, [STYLE], max_size=50).shape == (35, 50, 3)
    assert shrink(STYLE, 500) is STYLE
    small = stylize(CONTENT, [STYLE], style_size=32)
    assert far(small, stylize(CONTENT, [shrink(STYLE, 32)])) == 0


@pytest.mark.parametrize(
    "height, width, tile, overlap, step",
    [(70, 101, 48, 16, 1), (64, 65, 64, 8, 1), (99, 70, 48, 9, 32)],
)
def test_tiles_cover_every_pixel_and_share_their_borders(height, width, tile, overlap, step):
    seen = np.zeros((height, width), int)
    spans = list(tiles(height, width, tile, overlap, step))
    for rows, columns in spans:
        seen[rows, columns] += 1
        assert max(rows.stop - rows.start, columns.stop - columns.start) <= tile
        assert rows.start % step == columns.start % step == 0
    assert seen.min() == 1
    for one, other in zip(spans, spans[1:], strict=False):
        if one[0] == other[0]:
            assert one[1].stop - other[1].start >= overlap
    assert list(tiles(9, 9, None, 4)) == [(slice(0, 9), slice(0, 9))]


def test_tiles_fade_into_each_other_without_a_seam(stylize, monkeypatch):
    """A black piece beside a white one: each column is at most a step of the fade lighter."""
    shades = iter((0.0, 255.0))

    def painted(piece, *args):
        return np.full((*piece.shape[-2:], 3), next(shades))

    monkeypatch.setattr(stylize, "_painted", painted)
    content = smooth(2, 64, 128)
    assert stylize.tiles(64, 128, 96, 32)[1][1] == slice(32, 128)
    row = stylize.paint(content, [], tile=96, overlap=32)[0, :, 0].astype(int)
    assert (row[:32] == 0).all() and (row[96:] == 255).all()
    assert 0 <= np.diff(row).min() and np.diff(row).max() <= 255 / 32 + 1
    with pytest.raises(ValueError, match="tile must be a whole number from 65"):
        stylize.paint(content, [], tile=60, overlap=32)


def test_pieces_have_the_statistics_of_the_whole(tmp_path):
    """A picture that is dark on the left and light on the right is so when painted in tiles."""
    settings = dict(MODEL, transfer="adain")
    (tmp_path / "adain.py").write_text(f"default_scope = 'mmengine'\nmodel = {settings!r}\n")
    torch.manual_seed(0)
    torch.save(MODELS.build(settings).state_dict(), tmp_path / "adain.pth")
    stylize = Stylizer(tmp_path / "adain.py", tmp_path / "adain.pth")
    noise = np.random.default_rng(2).integers(0, 256, (64, 192, 3), np.uint8)
    for content in (smooth(2, 64, 192), noise):
        content[:, :96] //= 4
        whole = stylize(content, [STYLE])
        tiled = stylize(content, [STYLE], tile=96, overlap=16)
        alone = np.concatenate([stylize(half, [STYLE]) for half in np.split(content, 2, 1)], 1)
        assert mean_far(tiled, whole) < 0.5 * mean_far(alone, whole)


def test_colours_are_kept_by_luminance_or_by_matching(stylize):
    kept = with_luminance_of(STYLE, cv2.resize(CONTENT, (64, 48)))
    luma = [cv2.cvtColor(p, cv2.COLOR_RGB2YCrCb)[..., 0].astype(float) for p in (kept, STYLE)]
    assert np.abs(luma[0] - luma[1]).mean() < 3  # colours at the border of RGB are cut
    matched = match_colors(STYLE, CONTENT).reshape(-1, 3).astype(float)
    content = CONTENT.reshape(-1, 3).astype(float)
    np.testing.assert_allclose(matched.mean(0), content.mean(0), atol=1)
    np.testing.assert_allclose(np.cov(matched.T), np.cov(content.T), atol=0.05 * content.var())
    painted = {way: stylize(CONTENT, [STYLE], preserve_color=way) for way in ("luminance", "match")}
    assert far(painted["luminance"], painted["match"]) > 1
    with pytest.raises(ValueError, match="preserve_color must be one of luminance, match"):
        stylize(CONTENT, [STYLE], preserve_color="all")


def test_what_does_not_fit_into_memory_offers_tiles(stylize, monkeypatch):
    def full(*args):
        raise RuntimeError(
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
        )

    monkeypatch.setattr(stylize.model, "paint", full)
    with pytest.raises(MemoryError, match="101 x 70 pixels does not fit.*smaller tile"):
        stylize(CONTENT, [STYLE])


def test_a_config_or_picture_of_another_kind_is_named(files, stylize, tmp_path):
    for wrong in (CONTENT[..., 0], CONTENT / 255):
        with pytest.raises(ValueError, match=r"must be an array \(H, W, 3\) uint8"):
            stylize.read_style(wrong)
    with pytest.raises(ValueError, match="styles must hold one style at least"):
        stylize(CONTENT, [])
    with pytest.raises(ValueError, match="max_size must be a whole number from 16"):
        stylize(CONTENT, [STYLE], max_size=8)
    other = tmp_path / "other.py"
    other.write_text("model = dict(type='mmdet.MaskRCNN')\n")
    with pytest.raises(ValueError, match="must be of a RobustStyleTransfer, got mmdet.MaskRCNN"):
        Stylizer(other, files[1])
    lost = tmp_path / "lost.pth"
    torch.save(dict(state_dict={"decoder.0.weight": torch.zeros(8, 16, 3, 3)}), lost)
    with pytest.raises(ValueError, match="lost.pth"):
        Stylizer(files[0], lost)
