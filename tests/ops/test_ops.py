"""mmcv's operators on torchvision: beside plain references, mmcv's compiled ones, and in detectors.

The operators are called by mmcv's own functions. Where mmcv has compiled operators, or
$ROBUSTNET_MMCV_EXT names such an `_ext.*.so`, both are compared.
"""

import os
import sys
from importlib.util import module_from_spec, spec_from_file_location

import mmcv.ops
import pytest
import torch
import torch.nn.functional as F
import torchvision
from mmcv.ops.multi_scale_deform_attn import (
    MultiScaleDeformableAttnFunction,
    multi_scale_deformable_attn_pytorch,
)
from mmengine.hub import get_config
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope

from robustnet_mm.ops import extension, place

F32 = torch.finfo(torch.float32).eps


def use(ext, patch):
    """Let mmcv's functions call the operators of `ext`."""
    for name, module in list(sys.modules.items()):
        if name.startswith("mmcv.ops.") and hasattr(module, "ext_module"):
            patch.setattr(module, "ext_module", ext)


@pytest.fixture(autouse=True)
def ours(monkeypatch):
    use(extension, monkeypatch)


@pytest.fixture(scope="session")
def compiled():
    path = os.environ.get("ROBUSTNET_MMCV_EXT") or place.compiled()
    if not path:
        pytest.skip("mmcv has no compiled operators here (ROBUSTNET_MMCV_EXT can name an _ext.so)")
    spec = spec_from_file_location("_ext", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def random_boxes(n, side=60.0, whole=False):
    start = torch.rand(n, 2) * side
    boxes = torch.cat([start, start + torch.rand(n, 2) * side / 2 + 1], dim=1)
    return boxes.round() if whole else boxes


def random_rois(n, images=2, side=60.0):
    return torch.cat([torch.randint(images, (n, 1)).float(), random_boxes(n, side)], dim=1)


def ramp(height, width, images=2, channels=3, dtype=torch.float32):
    """Maps that are linear in y and x, each channel with its own slopes."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    slopes = torch.arange(1, channels + 1).view(-1, 1, 1)
    return (y * slopes + x * 0.5).to(dtype).expand(images, -1, -1, -1).contiguous()


# beside plain references ---------------------------------------------------------------------


def iou(a, b, offset=0):
    w = max(min(a[2], b[2]) - max(a[0], b[0]) + offset, 0)
    h = max(min(a[3], b[3]) - max(a[1], b[1]) + offset, 0)
    area = [(c[2] - c[0] + offset) * (c[3] - c[1] + offset) for c in (a, b)]
    return w * h / (sum(area) - w * h)


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("threshold", [0.3, 0.6])
def test_nms_keeps_what_no_better_box_covers(offset, threshold):
    boxes, scores = random_boxes(80), torch.rand(80)
    kept = []
    for i in scores.argsort(descending=True).tolist():
        if all(iou(boxes[i].tolist(), boxes[k].tolist(), offset) <= threshold for k in kept):
            kept.append(i)
    dets, found = mmcv.ops.nms(boxes, scores, threshold, offset)
    assert found.tolist() == kept and 0 < len(kept) < 80
    assert torch.equal(dets, torch.cat([boxes, scores[:, None]], dim=1)[kept])


def test_nms_keeps_a_box_that_overlaps_by_the_threshold_itself():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 6, 10]])  # IoU 0.6, which float32 rounds up
    assert mmcv.ops.nms(boxes, torch.tensor([0.9, 0.8]), 0.6)[1].tolist() == [0, 1]
    assert mmcv.ops.nms(boxes, torch.tensor([0.9, 0.8]), 0.59)[1].tolist() == [0]


@pytest.mark.parametrize("method", ["naive", "linear", "gaussian"])
def test_soft_nms_lowers_the_scores_of_what_overlaps(method):
    boxes, scores = random_boxes(40), torch.rand(40)
    left, expected = dict(enumerate(scores.tolist())), []
    while left:
        best = max(left, key=left.get)
        expected.append((best, left.pop(best)))
        for k in list(left):
            overlap = iou(boxes[best].tolist(), boxes[k].tolist())
            lowered = dict(naive=0.0, linear=1 - overlap)
            high = lowered.get(method, 0.0) if overlap >= 0.4 else 1.0
            left[k] *= torch.tensor(-(overlap**2) / 0.5).exp() if method == "gaussian" else high
            if left[k] < 0.05:
                del left[k]
    dets, kept = mmcv.ops.soft_nms(boxes, scores, 0.4, 0.5, 0.05, method)
    assert kept.tolist() == [k for k, _ in expected]
    torch.testing.assert_close(dets[:, 4], torch.tensor([float(s) for _, s in expected]))
    assert torch.equal(dets[:, :4], boxes[kept])


def test_nms_match_groups_every_box_with_the_one_that_suppresses_it():
    dets = torch.cat([random_boxes(60), torch.rand(60, 1)], dim=1)
    groups = [g.tolist() for g in mmcv.ops.nms_match(dets, 0.3)]
    kept = mmcv.ops.nms(dets[:, :4].contiguous(), dets[:, 4], 0.3)[1].tolist()
    assert [group[0] for group in groups] == kept
    assert sorted(sum(groups, [])) == list(range(60))
    for first, *others in groups:
        assert all(iou(dets[first].tolist(), dets[k].tolist()) >= 0.3 for k in others)


@pytest.mark.parametrize("mode", ["iou", "iof"])
@pytest.mark.parametrize("aligned", [False, True])
def test_bbox_overlaps_are_those_of_each_pair(mode, aligned):
    a, b = random_boxes(7), random_boxes(7)
    pairs = (
        zip(range(7), range(7), strict=True)
        if aligned
        else torch.cartesian_prod(*[torch.arange(7)] * 2)
    )
    expected = []
    for i, j in pairs:
        value = iou(a[i].tolist(), b[j].tolist())
        area = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a[i], b[j])]
        inter = value * sum(area) / (1 + value)
        expected.append(value if mode == "iou" else inter / area[0])
    found = mmcv.ops.bbox_overlaps(a, b, mode, aligned)
    torch.testing.assert_close(found.flatten(), torch.tensor([float(v) for v in expected]))


@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_roi_align_of_a_ramp_is_the_ramp_at_the_bins_centres(sampling_ratio):
    feat, rois = ramp(40, 40), torch.tensor([[0, 8.0, 8, 64, 48], [1, 16, 24, 40, 100]])
    for mode in ("avg", "max"):
        found = mmcv.ops.roi_align(feat, rois, (2, 4), 0.25, sampling_ratio, mode, True)
        for roi, pooled in zip(rois / 4, found, strict=True):
            x1, y1, x2, y2 = roi[1:].tolist()
            ratio = [sampling_ratio or -int(-s // 1) for s in ((y2 - y1) / 2, (x2 - x1) / 4)]
            last = [(1 - 1 / r) / 2 if mode == "max" else 0.0 for r in ratio]  # in bins
            y = y1 - 0.5 + (torch.arange(2) + 0.5 + last[0]) * (y2 - y1) / 2
            x = x1 - 0.5 + (torch.arange(4) + 0.5 + last[1]) * (x2 - x1) / 4
            for c in range(3):
                expected = y[:, None] * (c + 1) + x * 0.5
                torch.testing.assert_close(pooled[c], expected, rtol=64 * F32, atol=64 * F32)


@pytest.mark.parametrize("mode", ["avg", "max"])
def test_roi_align_reads_channels_last_memory_right(mode):
    feat, rois = torch.randn(2, 8, 20, 24), random_rois(12)
    feat.requires_grad_()
    pooled = mmcv.ops.roi_align(feat, rois, (3, 3), 0.25, 0, mode, True)
    (grad,) = torch.autograd.grad(pooled.square().sum(), feat)
    last = feat.detach().to(memory_format=torch.channels_last).requires_grad_()
    assert not last.is_contiguous()
    again = mmcv.ops.roi_align(last, rois, (3, 3), 0.25, 0, mode, True)
    assert torch.equal(again, pooled)
    assert torch.equal(torch.autograd.grad(again.square().sum(), last)[0], grad)


def test_roi_pool_is_the_maximum_of_each_bin_and_zero_outside_the_map():
    feat = torch.randn(2, 3, 12, 14)
    rois = torch.cat([random_rois(20, side=40), torch.tensor([[0.0, 300, 300, 320, 320]])])
    found = mmcv.ops.roi_pool(feat, rois, (3, 2), 0.25)
    assert not found[-1].any()
    for roi, pooled in zip(rois.tolist(), found, strict=True):
        image, (x1, y1, x2, y2) = (
            int(roi[0]),
            [v * 0.25 for v in roi[1:3] + [roi[3] + 1, roi[4] + 1]],
        )
        for i in range(3):
            for j in range(2):
                top, bottom = y1 + i * (y2 - y1) / 3, y1 + (i + 1) * (y2 - y1) / 3
                left, right = x1 + j * (x2 - x1) / 2, x1 + (j + 1) * (x2 - x1) / 2
                ys = slice(int(top // 1), int(-(-bottom // 1)))
                xs = slice(int(left // 1), int(-(-right // 1)))
                part = feat[image, :, ys, xs].flatten(1)
                expected = part.amax(1) if part.numel() else torch.zeros(3)
                assert torch.equal(pooled[:, i, j], expected)


@pytest.mark.parametrize("version", [1, 2])
def test_a_deformable_convolution_without_offsets_is_a_convolution(version):
    x, weight = torch.randn(2, 4, 9, 11), torch.randn(6, 2, 3, 3)
    offset, mask, bias = torch.zeros(2, 36, 5, 6), torch.full((2, 18, 5, 6), 0.5), torch.randn(6)
    settings = dict(stride=2, padding=1, groups=2)
    if version == 1:
        found = mmcv.ops.deform_conv2d(x, offset, weight, 2, 1, 1, 2, 2)
        expected = F.conv2d(x, weight, **settings)
    else:
        found = mmcv.ops.modulated_deform_conv2d(x, offset, mask, weight, bias, 2, 1, 1, 2, 2)
        expected = F.conv2d(x, weight * 0.5, bias, **settings)
    torch.testing.assert_close(found, expected)


def test_offsets_are_down_then_across_and_move_what_is_read():
    x, weight = torch.randn(1, 1, 8, 8), torch.randn(1, 1, 1, 1)
    offset = torch.tensor([2.0, -1.0]).view(1, 2, 1, 1).expand(1, 2, 8, 8).contiguous()
    found = mmcv.ops.deform_conv2d(x, offset, weight)
    assert torch.equal(found[..., :6, 1:], x[..., 2:, :-1] * weight)
    assert not found[..., 6:, :].any() and not found[..., 0].any()


def test_sigmoid_focal_loss_is_torchvisions_and_weighs_classes():
    x, target = torch.randn(8, 5, dtype=torch.double), torch.tensor([0, 1, 2, 3, 4, 5, 5, 2])
    one_hot = F.one_hot(target, 6)[:, :5].double()
    expected = torchvision.ops.sigmoid_focal_loss(x, one_hot, 0.25, 2.0)
    found = mmcv.ops.sigmoid_focal_loss(x, target, 2.0, 0.25, None, "none")
    torch.testing.assert_close(found, expected)
    weight = torch.rand(5, dtype=torch.double)
    found = mmcv.ops.sigmoid_focal_loss(x, target, 2.0, 0.25, weight, "none")
    torch.testing.assert_close(found, expected * F.pad(weight, (0, 1), value=1.0)[target][:, None])


def test_softmax_focal_loss_is_its_formula_and_ignores_negative_labels():
    x, target = torch.randn(6, 4, dtype=torch.double), torch.tensor([0, 1, 2, 3, -1, 2])
    weight = torch.rand(4, dtype=torch.double)
    p = x.softmax(1).gather(1, target.clamp(min=0)[:, None])[:, 0]
    expected = -0.25 * (1 - p) ** 2 * p.log() * weight[target.clamp(min=0)] * (target >= 0)
    found = mmcv.ops.softmax_focal_loss(x, target, 2.0, 0.25, weight, "none")
    torch.testing.assert_close(found, expected)


def attention_inputs(dtype=torch.double):
    shapes = torch.tensor([[4, 5], [2, 3]])
    value = torch.randn(2, 26, 2, 3, dtype=dtype)
    places = torch.rand(2, 7, 2, 2, 4, 2, dtype=dtype) * 1.2 - 0.1
    weights = torch.rand(2, 7, 2, 2, 4, dtype=dtype)
    return shapes, torch.tensor([0, 20]), value, places, weights


def test_deformable_attention_is_mmcvs_own_form_and_its_gradients_are_right():
    shapes, starts, *tensors = attention_inputs()
    found = MultiScaleDeformableAttnFunction.apply(tensors[0], shapes, starts, *tensors[1:], 64)
    assert torch.equal(found, multi_scale_deformable_attn_pytorch(tensors[0], shapes, *tensors[1:]))

    def run(value, places, weights):
        return MultiScaleDeformableAttnFunction.apply(value, shapes, starts, places, weights, 64)

    assert torch.autograd.gradcheck(run, [t.requires_grad_() for t in tensors])


def double(*shape):
    return torch.randn(*shape, dtype=torch.double, requires_grad=True)


ROIS = torch.tensor([[0, 1.3, 2.1, 17.2, 20.9], [1, 5.2, 0.4, 24.8, 11.5]], dtype=torch.double)
GRADIENTS = dict(
    roi_align=lambda: (
        lambda x: mmcv.ops.roi_align(x, ROIS, (2, 3), 0.25, 2),
        [double(2, 2, 7, 8)],
    ),
    roi_align_dense=lambda: (
        lambda x: mmcv.ops.roi_align(x, ROIS, (2, 2), 0.25, 0, "avg", False),
        [double(2, 2, 7, 8)],
    ),
    roi_align_max=lambda: (
        lambda x: mmcv.ops.roi_align(x, ROIS, (2, 3), 0.25, 0, "max"),
        [double(2, 2, 7, 8)],
    ),
    roi_pool=lambda: (lambda x: mmcv.ops.roi_pool(x, ROIS, (2, 3), 0.25), [double(2, 2, 7, 8)]),
    deform_conv=lambda: (
        lambda x, o, w: mmcv.ops.deform_conv2d(x, o, w, 1, 1, 1, 1, 2),
        [double(2, 4, 5, 6), double(2, 36, 5, 6), double(3, 4, 3, 3)],
    ),
    modulated_deform_conv=lambda: (
        lambda *t: mmcv.ops.modulated_deform_conv2d(*t, 2, 1, 1, 2, 1),
        [
            double(1, 4, 5, 6),
            double(1, 18, 3, 3),
            double(1, 9, 3, 3),
            double(4, 2, 3, 3),
            double(4),
        ],
    ),
    sigmoid_focal=lambda: (
        lambda x: mmcv.ops.sigmoid_focal_loss(x, torch.tensor([0, 2, 3]), 2.0, 0.25, None, "sum"),
        [double(3, 3)],
    ),
    softmax_focal=lambda: (
        lambda x: mmcv.ops.softmax_focal_loss(x, torch.tensor([0, 2, -1]), 2.0, 0.25, None, "mean"),
        [double(3, 3)],
    ),
)


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_are_the_slopes(name):
    function, inputs = GRADIENTS[name]()
    assert torch.autograd.gradcheck(function, inputs)


# precision -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gives_half_precision_near_the_full_one(dtype):
    feat, rois = torch.randn(2, 4, 16, 16), random_rois(6, side=40)
    pooled = mmcv.ops.roi_align(feat.to(dtype), rois.to(dtype), (3, 3), 0.25)
    expected = mmcv.ops.roi_align(feat.to(dtype).float(), rois.to(dtype).float(), (3, 3), 0.25)
    assert pooled.dtype == dtype and torch.equal(pooled, expected.to(dtype))
    x, offset, weight = torch.randn(1, 2, 6, 6), torch.randn(1, 18, 6, 6), torch.randn(2, 2, 3, 3)
    half = [t.to(dtype) for t in (x, offset, weight)]
    found = mmcv.ops.deform_conv2d(*half, 1, 1)
    expected = mmcv.ops.deform_conv2d(*(t.float() for t in half), 1, 1)
    assert found.dtype == dtype and torch.equal(found, expected.to(dtype))
    boxes = random_boxes(20).to(dtype)
    kept = mmcv.ops.nms(boxes, torch.rand(20).to(dtype), 0.5)[0]
    assert kept.dtype == dtype and len(kept)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_focal_losses_and_overlaps_of_half_precision_stay_finite_and_right(dtype):
    x, target = (
        torch.tensor([[9.0, -18.0, 3.0], [-9.0, 18.0, 0.0]], dtype=dtype),
        torch.tensor([1, 0]),
    )
    # mmcv takes the softmax in half precision itself, where far logits vanish
    for loss, logits in ((mmcv.ops.sigmoid_focal_loss, x), (mmcv.ops.softmax_focal_loss, x / 9)):
        half, full = (logits.clone().to(t).requires_grad_() for t in (dtype, torch.float32))
        found, expected = (loss(t, target, 2.0, 0.25, None, "sum") for t in (half, full))
        torch.testing.assert_close(found.float(), expected, rtol=0.02, atol=0.02)
        grads = [torch.autograd.grad(v, t)[0].float() for v, t in ((found, half), (expected, full))]
        torch.testing.assert_close(*grads, rtol=0.02, atol=0.02)
    boxes = torch.tensor([[0.0, 0, 400, 400]], dtype=dtype)
    assert mmcv.ops.bbox_overlaps(boxes, boxes).item() == 1


def test_deformable_attention_under_autocast_keeps_the_values_type():
    shapes, starts, *tensors = attention_inputs(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        args = (tensors[0], shapes, starts, *tensors[1:], 64)
        assert MultiScaleDeformableAttnFunction.apply(*args).dtype == torch.bfloat16


def test_a_batch_of_no_images_has_no_gradient_to_place():
    feat = torch.zeros(0, 2, 7, 8, requires_grad=True)
    mmcv.ops.roi_pool(feat, torch.zeros(0, 5), (2, 3), 0.25).sum().backward()
    assert feat.grad.shape == feat.shape


def test_under_autocast_the_maps_type_stays():
    feat = torch.randn(1, 4, 8, 8, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        pooled = mmcv.ops.RoIAlign((2, 2), 0.25)(feat, random_rois(3, 1, 20).bfloat16())
    pooled.float().sum().backward()
    assert pooled.dtype == feat.grad.dtype == torch.bfloat16 and feat.grad.isfinite().all()


# beside mmcv's compiled operators, and on a GPU ----------------------------------------------


def cases():
    """Calls of mmcv's functions on random numbers: {name: function of a device -> tensors}."""

    def boxes(device, whole, seed, method, offset):
        torch.manual_seed(seed)
        box, score = random_boxes(150, whole=whole).to(device), torch.rand(150).to(device)
        threshold = (0.3, 0.5, 0.7)[seed % 3]
        if method == "nms":
            return mmcv.ops.nms(box, score, threshold, offset)
        if method == "match":
            dets = torch.cat([box, score[:, None]], dim=1)
            return [torch.as_tensor(g) for g in mmcv.ops.nms_match(dets.cpu(), threshold)]
        return mmcv.ops.soft_nms(box, score, threshold, 0.5, 0.05, method, offset)

    def overlaps(device, mode, offset, aligned):
        a, b = random_boxes(40).to(device), random_boxes(40).to(device)
        return [mmcv.ops.bbox_overlaps(a, b, mode, aligned, offset)]

    def pool(device, function, channels_last=False, **args):
        feat = torch.randn(2, 6, 20, 24).to(device).requires_grad_()
        pooled = function(feat, random_rois(40).to(device), (3, 4), 0.25, *args.values())
        return pooled, torch.autograd.grad(pooled.square().sum(), feat)[0]

    def convolve(device, masked, stride, groups, deform_groups):
        x, w = torch.randn(2, 8, 10, 11), torch.randn(6, 8 // groups, 3, 3)
        size = [(s - 1) // stride + 1 for s in x.shape[2:]]
        o, m = torch.randn(2, 18 * deform_groups, *size), torch.rand(2, 9 * deform_groups, *size)
        tensors = [x, o, m, w, torch.randn(6)] if masked else [x, o, w]
        tensors = [t.to(device).requires_grad_() for t in tensors]
        function = mmcv.ops.modulated_deform_conv2d if masked else mmcv.ops.deform_conv2d
        out = function(*tensors, stride, 1, 1, groups, deform_groups)
        return out, *torch.autograd.grad(out.square().sum(), tensors)

    made = {}
    for seed in range(12):
        for method in ("nms", "naive", "linear", "gaussian", "match"):
            for whole, offset in ((False, 0), (True, 1)):
                args = (whole, seed, method, 0 if method == "match" else offset)
                made[f"{method}-{seed}-{offset}"] = lambda d, a=args: boxes(d, *a)
    for mode in ("iou", "iof"):
        for aligned in (False, True):
            made[f"overlaps-{mode}-{aligned}"] = lambda d, m=mode, a=aligned: overlaps(d, m, 1, a)
    for mode in ("avg", "max"):
        for ratio in (0, 2):
            for aligned in (True, False):
                args = dict(ratio=ratio, mode=mode, aligned=aligned)
                made[f"roi_align-{mode}-{ratio}-{aligned}"] = lambda d, a=args: pool(
                    d, mmcv.ops.roi_align, **a
                )
    for masked in (False, True):
        for args in ((1, 1, 1), (2, 2, 2)):
            made[f"deform-{masked}-{args}"] = lambda d, m=masked, a=args: convolve(d, m, *a)
    return made


def agree(name, found, expected):
    """Indices are the same; sums of up to a few hundred terms, in whatever order, are close."""
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape, name
        scale = b.abs().max().item() if b.numel() else 0.0
        exact = not b.is_floating_point()
        assert torch.equal(a, b) if exact else (a - b).abs().le(300 * F32 * scale).all(), name


def test_everything_agrees_with_mmcvs_compiled_operators(compiled):
    for name, case in cases().items():
        results = []
        for ext in (extension, compiled):
            with pytest.MonkeyPatch.context() as patch:
                use(ext, patch)
                torch.manual_seed(0)
                results.append(case("cpu"))
        agree(name, *results)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_everything_agrees_on_a_gpu_and_on_the_cpu():

    def focal(device, function):
        x, target = torch.randn(9, 5).to(device).requires_grad_(), torch.arange(9).to(device) % 5
        loss = function(x, target, 2.0, 0.25, None, "sum")
        return loss[None], torch.autograd.grad(loss, x)[0]

    def attention(device):
        shapes, starts, *tensors = (t.to(device) for t in attention_inputs(torch.float32))
        tensors = [t.requires_grad_() for t in tensors]
        args = (tensors[0], shapes, starts, *tensors[1:], 64)
        out = MultiScaleDeformableAttnFunction.apply(*args)
        return out, *torch.autograd.grad(out.square().sum(), tensors)

    gpu_only = {
        "roi_pool": lambda d: mmcv.ops.roi_pool(
            torch.randn(2, 3, 12, 14).to(d), random_rois(20, side=40).to(d), (3, 2), 0.25
        )[None],
        "sigmoid": lambda d: focal(d, mmcv.ops.sigmoid_focal_loss),
        "softmax": lambda d: focal(d, mmcv.ops.softmax_focal_loss),
        "attention": attention,
    }
    for name, case in {**cases(), **gpu_only}.items():
        results = []
        for device in ("cuda", "cpu"):
            torch.manual_seed(0)
            results.append([t.cpu() for t in case(device)])
        agree(name, *results)


# in detectors --------------------------------------------------------------------------------

NANO = dict(type="robustnet_mm.RobustNet", arch="nano", out_type="pyramid")
DEFORMABLE = dict(base_channels=8, norm_cfg=dict(type="BN"), init_cfg=None)


@pytest.mark.parametrize(
    "name",
    [
        "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py",
        "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py",
        "retinanet/retinanet_r50_fpn_1x_coco.py",
        "cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py",
        "atss/atss_r50_fpn_1x_coco.py",
        "dcnv2/mask-rcnn_r50-mdconv-c3-c5_fpn_1x_coco.py",
    ],
)
def test_detectors_take_a_training_step_and_predict(name):
    from mmdet.testing import demo_mm_inputs

    cfg = get_config(f"mmdet::{name}")
    if name.startswith("dcnv2"):
        cfg.model.backbone.update(DEFORMABLE)
    else:
        cfg.model.backbone = NANO
    cfg.model.neck.in_channels = [32, 64, 128, 256]
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = ROOT_MODELS.build(cfg.model)
    inputs = demo_mm_inputs(2, [(3, 96, 128), (3, 80, 96)], with_mask=True)
    data = model.data_preprocessor(inputs, training=True)
    loss, _ = model.parse_losses(model(**data, mode="loss"))
    loss.backward()
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    assert loss.isfinite() and not [n for n, p in trained if p.grad is None]
    model.eval()
    with torch.no_grad():
        samples = model(**model.data_preprocessor(inputs, training=False), mode="predict")
    assert all(s.pred_instances.bboxes.isfinite().all() for s in samples)


def test_another_operator_says_what_is_missing_and_the_two_ways_out():
    with pytest.raises(RuntimeError, match="got 'carafe_forward': take a layer .*compiled"):
        mmcv.ops.carafe(torch.randn(1, 4, 4, 4), torch.randn(1, 25, 8, 8), 5, 1, 2)
