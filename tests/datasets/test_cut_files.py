import io

import mmcv
import numpy as np
import pytest
from PIL import Image

from robustnet_mm.datasets import cut_files
from robustnet_mm.datasets.cut_files import ends_early, layout, segments

END = b"\xff\xd9"
# smooth, with noise in it, as photographs are
PHOTOGRAPH = np.clip(
    np.add.outer(np.linspace(0, 200, 90), np.linspace(0, 50, 130))[..., None]
    + np.random.default_rng(0).normal(0, 12, (90, 130, 3)),
    0,
    255,
).astype(np.uint8)


def jpeg(mode="RGB", bottom=None, kind="JPEG", mark=None, **options) -> bytes:
    pixels, out = PHOTOGRAPH.copy(), io.BytesIO()
    if bottom is not None:
        pixels[-24:] = bottom
    if mark:
        options["exif"] = Image.Exif()
        options["exif"][274] = mark
    Image.fromarray(pixels).convert(mode).save(out, kind, **options)
    return out.getvalue()


def flat(colour, **options) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (130, 90), colour).save(out, "JPEG", **options)
    return out.getvalue()


def two() -> bytes:
    image = Image.fromarray(PHOTOGRAPH)
    out = io.BytesIO()
    image.save(out, "MPO", save_all=True, append_images=[image])
    return out.getvalue()


WHOLE = {
    "4:2:0": jpeg(subsampling=2),
    "4:4:4": jpeg(subsampling=0, quality=95),
    "progressive": jpeg(progressive=True),
    "grey": jpeg("L"),
    "grey, progressive": jpeg("L", progressive=True),
    "CMYK": jpeg("CMYK"),
    "restart markers": jpeg(restart_marker_blocks=3),
    "restart markers, progressive": jpeg(restart_marker_rows=1, progressive=True),
    "a white bottom": jpeg(bottom=255),
    "a grey bottom": jpeg(bottom=128),
    "a grey bottom, grey": jpeg("L", bottom=128),
    "on its side": jpeg(mark=6),
    "upside down": jpeg(mark=3),
    "data behind it": jpeg(bottom=128) + b"a camera's" * 99,
    "data behind it, progressive": jpeg(progressive=True) + b"a camera's" * 99,
    "two images": two(),
}
FLAT = {
    "white": flat("white"),
    "grey": flat((128, 128, 128)),
    "grey, progressive": flat((128, 128, 128), progressive=True),
}


def judge(content, backend="cv2", flag="color"):
    return ends_early(content, mmcv.imfrombytes(content, flag, backend=backend))


@pytest.mark.parametrize("flag", ["color", "grayscale", "unchanged"])
@pytest.mark.parametrize("backend", ["cv2", "pillow"])
@pytest.mark.parametrize("what", [*WHOLE, *(f"flat {name}" for name in FLAT)])
def test_a_whole_file_passes(what, backend, flag):
    content = FLAT[what[5:]] if what.startswith("flat ") else WHOLE[what]
    assert not judge(content, backend, flag)


@pytest.mark.parametrize("backend", ["cv2", "pillow"])
@pytest.mark.parametrize("part", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("what", WHOLE)
def test_a_cut_file_with_an_end_marker_is_found(what, part, backend):
    content = WHOLE[what]
    start = layout(content).scan
    end = next(at for marker, at in segments(content, start) if marker == 0xD9)
    cut = content[: start + int((end - start) * part)]
    for tail in (END, b"\xff" + END, END + b"a camera's" * 9):
        assert judge(cut + tail, backend)


def test_a_progressive_file_cut_between_two_scans_is_found():
    content = WHOLE["progressive"]
    *scans, last = [at for marker, at in segments(content, 2) if marker == 0xDA]
    assert len(scans) == 9 and all(judge(content[:at] + END) for at in [*scans[1:], last])


def test_a_file_cut_before_a_restart_marker_is_found():
    content = WHOLE["restart markers"]
    marks = [at for at in range(layout(content).scan, len(content)) if content[at] == 0xFF
             and 0xD0 <= content[at + 1] <= 0xD7]  # fmt: skip
    assert len(marks) > 8 and all(judge(content[:at] + END) for at in marks[:-1])


def test_a_file_without_an_end_is_found_where_its_last_block_is_grey():
    cut = WHOLE["4:2:0"][:-900] + END
    image = mmcv.imfrombytes(cut)
    assert ends_early(cut[:-2] + bytes(99), image) and ends_early(cut[:-2], image)


def test_only_a_file_that_may_be_cut_is_decoded_again(monkeypatch):
    seen = []
    monkeypatch.setattr(cut_files, "decoded", lambda content: seen.append(1) or PHOTOGRAPH)
    for what in ("4:2:0", "4:4:4", "grey", "CMYK", "restart markers", "a white bottom"):
        judge(WHOLE[what])
    judge(FLAT["white"])
    assert not seen
    judge(WHOLE["a grey bottom"])
    judge(WHOLE["progressive"])
    assert seen


def test_what_is_no_jpeg_or_cannot_be_judged_passes():
    odd = WHOLE["progressive"][:1374] + b"\xff\xda\x00\x04\xff\xff" + END  # 255 components
    assert not judge(odd)
    for content in (b"", b"\xff\xd8\xff", b"\x89PNG", b"\xff\xd8\xff\xe1", WHOLE["grey"][:20]):
        assert not ends_early(content, np.full((8, 8, 3), 128, np.uint8))
