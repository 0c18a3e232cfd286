"""What users do at first contact: it works, or an error names it before a training starts.

Each table holds rows (what the user does, how, what is expected); a further case is a further row.
What is expected is a pattern of the ValueError (or FileNotFoundError), `Says(pattern)`, or `WORKS`.
The file is longer than others may be, because each case is a line of a table.
"""

import gzip
import os
import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from math import nan

import numpy as np
import pytest
import torch
from bad_input import (
    BOXES,
    CLASSIFIER,
    HEIGHT,
    MASKS,
    WIDTH,
    WORKS,
    Calls,
    Coco,
    Own,
    Says,
    cells,
    config,
    deep,
    file_from,
    given,
    hooked,
    ids,
    in_itself,
    interrupt,
    judge,
    lying,
    net,
    of_three_classes,
    picture,
    read,
    saved,
    start,
    table,
    tested,
    train_a_step,
    trained,
    under,
    without_masks,
)
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler as OneCycle
from mmengine.registry import MODELS
from safetensors.torch import save_file
from torch import nn

from robustnet_mm.engine.checks import check_config
from robustnet_mm.engine.hooks import NaNGuardHook
from robustnet_mm.engine.metrics import TowerAccuracy
from robustnet_mm.engine.optim import TowerLayerDecayConstructor
from robustnet_mm.models import (
    ConvTower,
    RobustNet,
    SizedDataPreprocessor,
    TimmCNNTower,
    TowerNeck,
    TwoTowerHead,
    fold_batchnorm,
)
from robustnet_mm.models import ViTTower as ViT
from robustnet_mm.weights import PretrainedTower, read_checkpoint

HEADS = "num_classes must be"  # begins the message on numbers of classes

# ------------------------------------------------------------------ arguments of modules, images
nano_vit = dict(model_name="deit_tiny_patch16_224", model_args=dict(depth=2, embed_dim=96))
neck = dict(in_channels=(32, 64), embed_dims=96)
head = dict(cnn=dict(in_channels=256), vit=dict(in_channels=96))
sgd = dict(optimizer=dict(type="SGD", lr=0.1))
images = torch.zeros(1, 3, 32, 32)
ARGUMENTS = [
    ("arch is a list", lambda: RobustNet(["nano"]), r"arch must be one of nano.*got \['nano'\]"),
    ("arch of a tower is a list", lambda: ConvTower(["nano"]), r"arch of ConvTower must be one of"),
    ("a tower is a name", lambda: RobustNet(cnn="resnet50", vit=nano_vit),
     "cnn must be a dict such as .*model_name='resnet50'.*, got 'resnet50'"),
    ("the other tower, too", lambda: RobustNet("nano", vit="dino"), "vit must be a dict .*'dino'"),
    ("frozen_stages is a word", lambda: ConvTower("nano", frozen_stages="all"),
     r"frozen_stages of ConvTower must be in -1\.\.4, got 'all'; 4 freezes all"),
    ("with_cp is a word", lambda: RobustNet("nano", with_cp="no"),
     "with_cp must be True or False, got 'no'"),
    ("with_cp of a tower", lambda: ConvTower("nano", with_cp="no"), "with_cp must be True or"),
    ("norm_eval is a word", lambda: ConvTower("nano", norm_eval="no"), "norm_eval must be True or"),
    ("channels_last is 1", lambda: ConvTower("nano", channels_last=1),
     "channels_last must be True"),
    ("drop_path_rate is 2", lambda: ViT(**nano_vit, drop_path_rate=2),
     r"drop_path_rate must be in \[0, 1\), got 2"),
    ("drop_path_rate of timm's CNN",
     lambda: TimmCNNTower("resnet18", model_args=dict(drop_path_rate=-1)), r"rate must be in \[0"),
    ("drop_exchange is a word", lambda: RobustNet("nano", drop_exchange="a"), "drop_exchange must"),
    ("model_args is a word", lambda: ViT("deit_tiny_patch16_224", model_args="depth=2"),
     "model_args must be a dict such as"),
    ("no classes", lambda: TwoTowerHead(0, **head), "num_classes must be a whole number from 1 on"),
    ("classes by name", lambda: TwoTowerHead("cat", **head), "num_classes must .*'cat': set it to"),
    ("a head is a number", lambda: TwoTowerHead(2, 256, head["vit"]), "cnn of TwoTowerHead must"),
    ("start_level is none", lambda: TowerNeck(**neck, start_level=9),
     r"start_level must be in 0\.\.1"),
    ("start_level is negative", lambda: TowerNeck(**neck, start_level=-1),
     "start_level must be in"),
    ("init_cfg is a path", lambda: RobustNet("nano", init_cfg="a.pth"),
     r"init_cfg of RobustNet must be None or dict\(type=.*checkpoint='FILE'\), got 'a.pth'"),
    ("init_cfg of a tower", lambda: ConvTower("nano", init_cfg="a.pth"), "init_cfg of ConvTower"),
    ("init_cfg of a head", lambda: TwoTowerHead(2, **head, init_cfg="a.pth"), "init_cfg of TwoT"),
    ("init_cfg without type", lambda: TowerNeck(**neck, init_cfg=dict(checkpoint="a")), "init_cfg"),
    ("init_cfg is empty", lambda: ConvTower("nano", init_cfg={}), r"init_cfg of Conv.*got \{\}"),
    ("init_cfg in a list", lambda: ConvTower("nano", init_cfg=[None]), r"init_cfg .*got \[None\]"),
    ("loss_weights is a number", lambda: TwoTowerHead(2, **head, loss_weights=1.0),
     r"loss_weights must be 2 or 3 numbers .*got 1\.0"),
    ("loss_weights with NaN", lambda: TwoTowerHead(2, **head, loss_weights=(1, nan)),
     "loss_weights must .*nan"),
    ("an unknown key of a head", lambda: TwoTowerHead(2, head["cnn"], head["vit"] | dict(pol=1)),
     "vit.pol is no argument of ViTClassifier, which takes .*did you mean 'pool'"),
    ("a key of a head that is missing", lambda: TwoTowerHead(2, {}, head["vit"]),
     "cnn must have in_channels, which CNNClassifier needs"),
    ("a loss that nobody has", lambda: TwoTowerHead(2, **head, loss=dict(type="Nope")),
     "loss must be a dict such as dict"),
    ("in_channels of a neck is a number", lambda: TowerNeck(256, 96),
     r"in_channels must be a list of whole numbers, got 256: write \[256\]"),
    ("a ViT as cnn", lambda: RobustNet("nano", cnn=dict(type="robustnet_mm.ViTTower", **nano_vit)),
     "cnn.type must be .*'robustnet_mm.ConvTower'.* got .*ViTTower', which goes into vit"),
    ("a CNN as vit",
     lambda: RobustNet("nano", vit=dict(type="robustnet_mm.ConvTower", arch="nano")),
     "vit.type must be .*'robustnet_mm.ViTTower', got .*ConvTower', which goes into cnn"),
    ("a neck as cnn", lambda: RobustNet("nano", cnn=dict(type="robustnet_mm.TowerNeck")),
     "cnn.type must be a registered tower .*got 'robustnet_mm.TowerNeck'$"),
    ("an unknown key of a tower", lambda: RobustNet("nano", cnn=dict(norm_evl=True)),
     "cnn.norm_evl is no argument of ConvTower, .*did you mean 'norm_eval'"),
    ("model_args of a row", lambda: RobustNet("nano", vit=dict(model_args=3)), "model_args must"),
    ("a number by which timm divides", lambda: ViT("deit_tiny_patch16_224", dict(num_heads=0)),
     "Check model_args"),
    ("model_args by number", lambda: TimmCNNTower("resnet18", {1: 2}), "model_args must"),
    ("batch_augments by name",
     lambda: SizedDataPreprocessor(dict(type="BaseDataPreprocessor"), batch_augments="Mixup"),
     "batch_augments must be a dict such as .*got 'Mixup'"),
    ("data_norm with a mean of NaN",
     lambda: RobustNet("nano", data_norm=dict(mean=(nan, 1, 1), std=(1, 1, 1))), "data_norm must"),
    ("input_norm with a std of NaN",
     lambda: ConvTower("nano", input_norm=dict(mean=(1, 1, 1), std=(1, nan, 1))), "input_norm m"),
    ("data_norm is empty", lambda: ViT(**nano_vit, data_norm={}), "data_norm must be dict.mean="),
    ("window_size is True", lambda: ViT(**nano_vit, window_size=True), "window_size must .*True"),
    ("global_blocks is a number", lambda: ViT(**nano_vit, window_size=2, global_blocks=1),
     "global_blocks must be a list of whole numbers, got 1: write"),
    ("global_blocks with 1.5", lambda: ViT(**nano_vit, window_size=2, global_blocks=(1.5,)),
     r"global_blocks must be in 0\.\.1, got 1\.5"),
    ("no weave", lambda: RobustNet("nano", weave=None), "weave must be 'paper', .*got None"),
    ("a weave of halves", lambda: RobustNet("nano", weave=[(0.5, 1)]), r"weave needs pairs .*0\.5"),
    ("a weave of flags", lambda: RobustNet("nano", weave=[(0, True)]), "weave needs .*True"),
    ("form without exchanges", lambda: RobustNet("nano", direction="none", form="one"), "form"),
    ("lr_mult is NaN", lambda: TowerLayerDecayConstructor(sgd, dict(vit=dict(lr_mult=nan))),
     "lr_mult of vit must be a finite number >= 0, got nan"),
    ("a part is a number", lambda: TowerLayerDecayConstructor(sgd, dict(vit=0.5)),
     r"paramwise_cfg\.vit must be a dict such as .*got 0\.5"),
    ("no learning rate", lambda: TowerLayerDecayConstructor(dict(optimizer=dict(type="SGD"))),
     "optimizer.lr must be a finite number"),
    ("topk is 0", lambda: TowerAccuracy(0), "topk must be a list of whole numbers, got 0"),
    ("topk of 0", lambda: TowerAccuracy((1, 0)), "topk must be a whole number from 1 on, got 0"),
    ("no topk", lambda: TowerAccuracy(()), "topk must hold a number"),
    ("results under a number", lambda: TowerAccuracy(prefix=1), "prefix must be None or a word"),
    ("a collect_device", lambda: TowerAccuracy(collect_device="cuda"), "device must be .*cpu, gpu"),
    ("interval is 0", lambda: NaNGuardHook(0), "interval must be a whole number from 1 on, got 0"),
    ("a checkpoint is a number", lambda: PretrainedTower(5), "needs checkpoint='FILE' .*=5"),
    ("allow_missing is no pattern", lambda: PretrainedTower("a.pth", allow_missing="fius.("),
     r"allow_missing must hold regular expressions .*got 'fius\.\(' \(missing"),
    ("a network without weights", lambda: fold_batchnorm(nn.Identity().eval()), "model must be"),
    ("no images", lambda: RobustNet("nano")(images[:0]),
     r"images must be a batch .*got none in \(0, 3, 32, 32\): leave empty batches out"),
    ("no images for a ViT", lambda: ViT(**nano_vit)(images[:0]), "must be a batch .*got none"),
    ("a list of images", lambda: RobustNet("nano")([*images]),
     r"images must be one tensor .*got a list: .*torch\.stack"),
    ("a list of images for a ViT", lambda: ViT(**nano_vit)([*images]), "one tensor .*got a list"),
    ("grey images", lambda: RobustNet("nano")(images[:, :1]),
     r"images must be \(N, 3, height, width\).*got \(1, 1, 32, 32\)"),
    ("images with alpha", lambda: ConvTower("nano")(images[:, [0, 0, 1, 2]]),
     r"got \(1, 4, 32, 32\)"),
    ("one image", lambda: RobustNet("nano")(images[0]), r"got \(3, 32, 32\)"),
    ("whole pixels", lambda: RobustNet("nano")(images.byte()), r"torch.uint8: let the data prepr"),
    ("double precision", lambda: ViT(**nano_vit)(images.double()), r"torch.float64: .*\.float\(\)"),
    ("double precision all through", lambda: RobustNet("nano").double().eval()(images.double()),
     WORKS),
    ("tokens of another width",
     lambda: TowerNeck((32, 64, 128, 256), 192)(RobustNet("nano").eval()(images)),
     "embed_dims of TowerNeck must be that of the backbone, 96, got 192"),
]  # fmt: skip


@table(ARGUMENTS)
def test_arguments_and_images(what, do, expected):
    judge(do, expected)


# ----------------------------------------------------------------------- configs and their data


def file_of(**kwargs):
    return lambda own: own.files.update({"images/1.png": picture(**kwargs)})


def turned(width, height, orientation=6, color_type="color"):
    """A photograph of a phone, lying on its side, and what the annotation says of it."""

    def do(own):
        own.files["images/1.png"] = picture(kind="JPEG", orientation=orientation)
        own.images[0].update(width=width, height=height)
        for phase in ("train", "val"):
            own.dataset(phase).pipeline[0].color_type = color_type

    return do


def many(own):
    """300 images, one of them of another size than its annotation says."""
    own.files = {f"images/{k}.png": own.files["images/1.png"] for k in range(300)}
    own.images = [dict(id=k, file_name=f"{k}.png", width=WIDTH, height=HEIGHT) for k in range(300)]
    own.images[7]["height"] = 99


def swap(own):
    own.each(*own.images, width=HEIGHT, height=WIDTH)


def reorder(own):
    own.set(train_dataloader__dataset__metainfo__classes=("dog", "cat"))


def one_class(own):
    for phase in ("train", "val"):
        own.dataset(phase).metainfo = dict(classes=("cat",))


def rename(own):
    """Ids with holes, the larger first."""
    own.categories = [dict(id=90, name="cat"), dict(id=7, name="dog")]
    for box in own.boxes:
        box.update(id=1000 * box["id"], category_id={1: 90, 2: 7}[box["category_id"]])


def retina_net(own):
    dense = dict(type="RetinaHead", num_classes=3)
    own.cfg.model.update(type="RetinaNet", roi_head=None, rpn_head=None, bbox_head=dense)
    own.cfg.val_evaluator.metric = "bbox"
    boxes_only(own, model=lambda cfg: None)


def boxes_only(own, metric="bbox", model=without_masks):
    own.drop("segmentation")
    own.dataset().pipeline[1].with_mask = own.dataset("val").pipeline[2].with_mask = False
    own.cfg.val_evaluator.metric = metric
    model(own.cfg)


DATA = [
    ("nothing wrong", lambda own: None, WORKS),
    ("no annotation file", lambda own: own.set(train_dataloader__dataset__ann_file="no.json"),
     r"annotation file '.*no\.json' is not there .*ann_file=PATH"),
    ("no annotation file for the metric", lambda own: own.set(val_evaluator__ann_file="no.json"),
     r"val_evaluator: the annotation file 'no\.json' is not there .*val_evaluator.ann_file=PATH"),
    ("no ann_file", lambda own: own.dataset().pop("ann_file"), r"ann_file must name an annotation"),
    ("a file of 0 bytes", lambda own: setattr(own, "text", b""), "not readable as JSON .*be empty"),
    ("a file {}", lambda own: setattr(own, "text", b"{}"),
     "must be a COCO dictionary with 'images'"),
    ("no annotations in the file", lambda own: own.boxes.clear(),
     r"json' has no annotations: name"),
    ("no images in the file", lambda own: own.images.clear(), "has no images or no categories"),
    ("ids with holes", rename, WORKS),
    ("a category without objects", lambda own: own.each(category_id=1), WORKS),
    ("an image without objects", lambda own: own.each(image_id=1), WORKS),
    ("one id twice", lambda own: own.each(id=1), r"ids of annotations must differ, 1 stand twice"),
    ("one name twice", lambda own: own.categories.append(dict(id=3, name="cat")),
     "categories of .* must have different names, got cat, dog, cat"),
    ("names in another order", reorder,
     r"must stand in the order .* labels, cat, dog; got dog, cat"),
    ("without segmentation", lambda own: own.drop("segmentation"),
     "4 of the 4 annotations cannot be loaded with masks, first annotation 11: no segmentation"),
    ("an empty segmentation", lambda own: own.each(own.boxes[0], segmentation=[]),
     "1 of the 4 ann"),
    ("a polygon of two points", lambda own: own.each(own.boxes[0], segmentation=[[0, 0, 5, 5]]),
     "first annotation 11: no polygon of three points or more, and no RLE"),
    ("a mask in words", lambda own: own.each(segmentation="all"), "no polygon of three points"),
    ("area is null", lambda own: own.each(area=None), "area must be a number, .* has None"),
    ("a category in a list", lambda own: own.each(category_id=[1]), "category_id must be a whole"),
    ("a mask of another size",
     lambda own: own.each(segmentation=dict(size=[WIDTH, HEIGHT], counts=[0, 3072])),
     "a mask of another size"),
    ("without segmentation, boxes only", boxes_only, WORKS),
    ("boxes for a Mask R-CNN", lambda own: boxes_only(own, model=lambda cfg: None),
     r"mask_head learns from masks, and train_dataloader.dataset.pipeline.1 loads none"),
    ("boxes measured as masks", lambda own: boxes_only(own, ["bbox", "segm"]),
     "val_evaluator.metric must be 'bbox', because model.roi_head has no mask_head"),
    ("without area", lambda own: own.drop("area"),
     "annotations 0 must have .*, it lacks area: add"),
    ("without iscrowd", lambda own: own.drop("iscrowd"), r"val_data.* it lacks iscrowd"),
    ("without width", lambda own: own.images[1].pop("width"), "images 1 must have .* lacks width"),
    ("a box of three", lambda own: own.each(own.boxes[2], bbox=[1, 2, 3]),
     "bbox must be four finite numbers .* annotation 21 of image 2 has"),
    ("a box that is null", lambda own: own.each(own.boxes[0], bbox=None), "four .*11 .*has None"),
    ("a box that is NaN", lambda own: own.each(own.boxes[0], bbox=[1, 2, float("nan"), 4]),
     "four fin"),
    ("a box outside", lambda own: own.each(own.boxes[0], bbox=[70, 8, 9, 9]),
     Says("4 annotations, not used by mmdet: 1 outside of its image")),
    ("a box without a size", lambda own: own.each(own.boxes[0], bbox=[9, 8, 0, 9]),
     Says("not used by mmdet: 1 less than a pixel wide")),
    ("a box at the edge", lambda own: own.each(own.boxes[0], bbox=[60, 8, 4, 9]), WORKS),
    ("corners instead of sizes", lambda own: own.each(bbox=[30, 20, 62, 42]),
     Says("4 boxes reach beyond their image .*not two corners")),
    ("boxes from 0 to 1", lambda own: own.each(bbox=[0.1, 0.1, 0.5, 0.5]),
     "none of the 4 annotations can be used .*in pixels"),
    ("a box of an image in a list", lambda own: own.each(own.boxes[0], image_id=[1]),
     r"image_id must be a whole number, annotation 11 has \[1\]"),
    ("a box of no image", lambda own: own.each(own.boxes[0], image_id=9),
     Says("1 of an image that")),
    ("numbers as pandas writes them", lambda own: own.each(image_id=1.0, category_id=2.0), WORKS),
    ("crowds only", lambda own: own.each(iscrowd=1), "none of the 4 .*crowds .iscrowd., from"),
    ("a box of no category", lambda own: own.each(own.boxes[0], category_id=9),
     Says("1 of a category")),
    ("width and height swapped", swap, r"2 of 2 images.*first '1\.png'.*48 x 64 in.*are swapped"),
    ("another size", lambda own: own.each(*own.images, width=640),
     "640 x 48 in .*64 x 48 as it is read"),
    ("on its side by EXIF, annotated as it lies", turned(WIDTH, HEIGHT),
     "turned by its EXIF mark .*color_ignore_orientation"),
    ("the same, read as it lies", turned(WIDTH, HEIGHT, 6, "color_ignore_orientation"), WORKS),
    ("on its side by EXIF, annotated as it is seen", turned(HEIGHT, WIDTH), WORKS),
    ("upside down by EXIF", turned(WIDTH, HEIGHT, 3), Says("1 of 2 images are mirrored or turned")),
    ("a size of 20 for a larger image", lambda own: own.each(*own.images, width=20, height=20),
     "2 of 2 images have .* 20 x 20 in the annotation, 64 x 48 as it is read; measure"),
    ("one image of many in another size", many,
     r"1 of 300 images have another size than .*first '7\.png': width x height 64 x 99 in"),
    ("width is null", lambda own: own.each(own.images[0], width=None),
     r"width must be a number of pixels .*image 1 \('1.png'\) has None: measure"),
    ("width is 0", lambda own: own.each(own.images[0], width=0), "width must .* has 0: measure"),
    ("height is a word", lambda own: own.each(own.images[1], height="48"),
     "height must be .*image 2 .* has '48'"),
    ("height is NaN", lambda own: own.each(own.images[1], height=float("nan")), "height must be"),
    ("one id for two images", lambda own: own.each(own.images[1], id=1),
     r"ids of images must differ, 1 stand twice \(1\)"),
    ("an id in a list", lambda own: own.each(own.images[0], id=[1]),
     r"id of images 0 must be a number, got \[1\]: convert"),
    ("file_name is null", lambda own: own.each(own.images[0], file_name=None),
     "file_name must be the path of an image, image 1 has None: mend"),
    ("one file for two images", lambda own: own.each(own.images[1], file_name="1.png"),
     Says(r"1 files are those of more than one image \(1\.png\).*one entry")),
    ("a class without a name", lambda own: own.each(own.categories[0], name=None),
     "categories must have words for names, got None, dog"),
    ("images are no list", lambda own: setattr(own, "images", {"1": own.images[0]}),
     "'images' of the annotation file .* must be a list, got a dict: convert"),
    ("annotations are no list", lambda own: setattr(own, "boxes", {"1": {}}),
     "'annotations' of .* must be a list, got a dict"),
    ("categories are no list", lambda own: setattr(own, "categories", "cat"),
     "'categories' of .* must be a list, got a str"),
    ("images with alpha", file_of(mode="RGBA"), WORKS),
    ("grey images", file_of(mode="L"), WORKS),
    ("images with a palette", file_of(mode="P"), WORKS),
    ("images of 16 bits", file_of(mode="I;16"), WORKS),
    ("num_classes forgotten",
     lambda own: own.set(**{f"{part}.num_classes": 80 for part in (BOXES, MASKS)}),
     rf"{HEADS} .*has 2 classes \(cat, dog\), got {BOXES}.num_classes=80, {MASKS}.num_classes=80: "
     rf"set --cfg-options {BOXES}.num_classes=2 {MASKS}"),
    ("num_classes left out", lambda own: own.cfg.model.roi_head.bbox_head.pop("num_classes"),
     rf"{HEADS} .*got {BOXES}.num_classes=80"),
    ("a part of the classes", one_class,
     rf"{HEADS} .*has 1 classes \(cat\), got {BOXES}.num_class"),
    ("heads in a cascade",
     lambda own: own.set(model__roi_head__bbox_head=[own.cfg.model.roi_head.bbox_head] * 2)
     or own.cfg.model.roi_head.bbox_head[1].update(num_classes=3),
     rf"{HEADS} .*{BOXES}\.1\.num_classes=3"),
    ("a RetinaNet", retina_net,
     rf"{HEADS} .*model\.bbox_head\.num_classes=3"),
    ("val of other classes",
     lambda own: own.set(val_dataloader__dataset__metainfo__classes=("cat",)),
     "val_dataloader.dataset must have the classes of train_.* cat, dog; got cat"),
]  # fmt: skip


@table(DATA)
def test_data_in_coco_format(what, do, expected, tmp_path, logged):
    own = Coco(tmp_path)
    do(own)
    own.write()
    if expected is WORKS or isinstance(expected, Says):
        judge(lambda: train_a_step(own), expected, logged)
        assert expected is not WORKS or not any("_dataloader.dataset" in t for t in logged)
    else:
        judge(lambda: check_config(own.cfg, ("train", "val")), expected)


def emptied(own, phase, *names):
    """Classes whose folder holds no image."""
    for name in names:
        own.files[f"{phase}/{name}/1.txt"] = own.files.pop(f"{phase}/{name}/1.png")


def deeper(own):
    for name in own.names:
        own.files[f"train/all/{name}/1.png"] = own.files.pop(f"train/{name}/1.png")


FOLDERS = [
    ("nothing wrong", lambda own: None, WORKS),
    ("num_classes forgotten",
     lambda own: own.set(model__head__num_classes=10, model__data_preprocessor__num_classes=10),
     rf"{HEADS} .*train.* has 2 classes \(cat, dog\), got model.head.num_classes=10, "
     r"model.data_preprocessor.num_classes=10: set --cfg-options model.head.num_classes=2"),
    ("in the preprocessor", lambda own: own.set(model__data_preprocessor__num_classes=3),
     rf"{HEADS} .*got model.data_preprocessor.num_classes=3"),
    ("val lacks a class", lambda own: own.files.pop("val/dog/1.png"),
     "val_dataloader.dataset must have the classes of train_.* cat, dog; got cat"),
    ("val has another class",
     lambda own: own.files.update({"val/eel/1.png": own.files.pop("val/dog/1.png")}),
     "val_dataloader.dataset must have the classes of train_.*cat, dog; got cat, eel"),
    ("a hidden folder", lambda own: own.files.update({"train/.git/x": b""}),
     r"train_dataloader\.dataset: folder '\.git' in '.*train' would be counted as a class"),
    ("a folder of an archive", lambda own: own.files.update({"val/__MACOSX/cat/1.png": b""}),
     "val_dataloader.dataset: folder '__MACOSX' .* shift the labels: take it out"),
    ("a level too deep", deeper, "folders .cat, dog.: .*one level deeper, set .*'.*/train/all'"),
    ("a class without images", lambda own: emptied(own, "train", "dog"),
     "class 'dog' in '.*train' has no images, no names that end in .jpg, .*tif: put"),
    ("a class without images in val", lambda own: emptied(own, "val", "dog"), WORKS),
    ("no images in val at all", lambda own: emptied(own, "val", "cat", "dog"),
     "val_dataloader.dataset: class 'cat', 'dog' in .* has no images"),
    ("images of another kind", lambda own: emptied(own, "train", "cat", "dog")
     or own.set(train_dataloader__dataset__extensions=[".TXT"]), WORKS),
    ("a list with names", lambda own: own.list(b"cat/1.png cat"), "number of its class, .* 'cat'"),
    ("a list with a class too many", lambda own: own.list(b"cat/1.png 0\ncat/1.png 2"),
     rf"{HEADS} .*has labels up to 2, got"),
    ("a list without the last class", lambda own: own.list(b"cat/1.png 0"), WORKS),
    ("names in another order",
     lambda own: own.set(train_dataloader__dataset__metainfo=dict(classes=("dog", "cat"))),
     "in the order of the folders' names, .* labels, cat, dog; got dog, cat"),
    ("a list with an empty line", lambda own: own.list(b"cat/1.png 0\n\n"), "line 2 of .* is empt"),
    ("a list in another encoding", lambda own: own.list("cat/ä.png 0".encode("latin-1")),
     "must be a text in UTF-8"),
    ("an empty list", lambda own: own.list(b""), "got 'no lines'"),
]  # fmt: skip


@table(FOLDERS)
def test_data_in_folders(what, do, expected, tmp_path):
    own = Own(tmp_path, CLASSIFIER)
    own.set(model__head__num_classes=2, model__data_preprocessor__num_classes=2)
    for phase in ("train", "val"):
        own.dataset(phase).data_prefix = phase
        own.files |= {f"{phase}/{name}/1.png": picture() for name in own.names}
    do(own)
    own.write()
    judge(lambda: check_config(own.cfg, ("train", "val")), expected)


TESTED = [
    ("nothing wrong", lambda own: None, WORKS),
    ("a class without images", lambda own: emptied(own, "test", "dog"), WORKS),
    ("a folder of a file server", lambda own: own.files.update({"test/@eaDir/1.png": b""}),
     "test_dataloader.dataset: folder '@eaDir'"),
    ("a class is not there", lambda own: own.files.pop("test/dog/1.png"),
     rf"{HEADS} .*test.* has 1 classes"),
]  # fmt: skip


@table(TESTED)
def test_folders_that_are_only_tested(what, do, expected, tmp_path):
    own = Own(tmp_path, CLASSIFIER)
    own.set(model__head__num_classes=2, model__data_preprocessor__num_classes=2)
    own.dataset("test").data_prefix = "test"
    own.files |= {f"test/{name}/1.png": picture() for name in own.names}
    do(own)
    own.write()  # the training's folders are not there
    judge(lambda: check_config(own.cfg, ("test",)), expected)


fpn = dict(type="FPN", in_channels=[32, 64, 128, 256], out_channels=64, num_outs=4)
CONFIGS = [
    ("no prefix", lambda own: own.set(model__backbone__type="RobustNet"),
     "model.backbone.type must be 'robustnet_mm.RobustNet', got 'RobustNet': .*no custom_imports"),
    ("no prefix of a neck", lambda own: own.cfg.model.neck[0].update(type="TowerNeck"),
     r"model.neck.0.type must be 'robustnet_mm.TowerNeck'"),
    ("no prefix of a hook", lambda own: own.cfg.custom_hooks[1].update(type="NaNGuardHook"),
     r"custom_hooks\.1\.type must be 'robustnet_mm.NaNGuardHook'"),
    ("no prefix of the constructor",
     lambda own: own.set(optim_wrapper__constructor="TowerLayerDecayConstructor"),
     "optim_wrapper.constructor must be 'robustnet_mm.TowerLayerDecayConstructor'"),
    ("no prefix inside RobustNet",
     lambda own: own.set(model__backbone__cnn=dict(type="ConvTower", arch="nano")), WORKS),
    ("FPN on both towers", lambda own: own.cfg.model.update(neck=fpn),
     r"model.neck is a FPN, which reads feature maps, .*TowerNeck.*, or set model.backbone.out"),
    ("FPN on both towers, in a list", lambda own: own.cfg.model.update(neck=[fpn]),
     r"model\.neck\.0 is a FPN"),
    ("FPN on the CNN's maps",
     lambda own: own.set(model__backbone__out_type="pyramid") or own.cfg.model.update(neck=fpn),
     WORKS),
    ("TowerNeck on the CNN's maps", lambda own: own.set(model__backbone__out_type="pyramid"),
     "model.neck.0 is a TowerNeck, which reads both towers"),
    ("a misspelt key", lambda own: own.set(model__backbone__drection="none"),
     "model.backbone.drection is no argument of RobustNet, .*did you mean 'direction'"),
]  # fmt: skip


@table(CONFIGS)
def test_configs(what, do, expected, tmp_path):
    own = Coco(tmp_path)
    do(own)
    own.write()
    judge(lambda: check_config(own.cfg, ("train", "val")), expected)


# ------------------------------------------------------------------------------ image files


FILES = [
    ("8 bits", lambda tmp: read(picture(), tmp), WORKS),
    ("alpha", lambda tmp: read(picture(mode="RGBA"), tmp), WORKS),
    ("grey", lambda tmp: read(picture(mode="L"), tmp), WORKS),
    ("grey and alpha", lambda tmp: read(picture(mode="LA"), tmp), WORKS),
    ("CMYK", lambda tmp: read(picture(mode="CMYK", kind="JPEG"), tmp), WORKS),
    ("16 bits", lambda tmp: read(deep(), tmp), WORKS),
    ("16 bits in a TIFF", lambda tmp: read(deep("TIFF"), tmp), WORKS),
    ("16 bits by Pillow", lambda tmp: read(deep(), tmp, imdecode_backend="pillow"),
     r"more than 8 bits \(mode I;16\), which Pillow cuts .*imdecode_backend='cv2'"),
    ("16 bits as they are", lambda tmp: read(deep(), tmp, color_type="unchanged"),
     "read as uint16"),
    ("32 bits", lambda tmp: read(deep("TIFF", np.float32), tmp), "is broken .*cannot be decoded"),
]  # fmt: skip


@table(FILES)
def test_image_files(what, do, expected, tmp_path):
    image = judge(lambda: do(tmp_path), expected)
    if expected is WORKS:
        assert image.shape[2:] == (3,) and image.dtype == np.uint8
        assert image.min() < 10 and 200 < image.max()  # scaled, not cut off
        assert 80 < image.mean() < 175


checked = dict(type="robustnet_mm.CheckedImagesHook")
END = r"take it out of the annotation"
TRUNCATED = [
    ("in a config of ours", hooked(dict(default_hooks=dict(images=checked))),
     rf"{END}, or train without it by --cfg-options default_hooks\.images\.on_error=skip$"),
    ("under a name of the user's", hooked(dict(default_hooks=dict(mine=checked))),
     r"by --cfg-options default_hooks\.mine\.on_error=skip$"),
    ("among the user's hooks", hooked(dict(custom_hooks=[dict(type="EMAHook"), checked])),
     r"by --cfg-options custom_hooks\.1\.on_error=skip$"),
    ("in a test", hooked(dict(default_hooks=dict(images=checked)), "test"), rf"{END}$"),
    ("in the user's pipeline", lambda tmp: read(picture(kind="JPEG")[:1000], tmp),
     r"or train without it by LoadImage\(on_error='skip'\)$"),
    ("closed with an end marker", lambda tmp: read(picture(kind="JPEG")[:1000] + b"\xff\xd9", tmp),
     r"is broken \(its data end before the picture does\)"),
    ("closed with an end chunk", lambda tmp: read(picture()[:1000] + picture()[-12:], tmp),
     "is broken"),
]  # fmt: skip


@table(TRUNCATED)
def test_truncated_images(what, do, expected, tmp_path):
    judge(lambda: do(tmp_path), expected)


# ------------------------------------------------------------------------------- checkpoints


def none():
    return net(direction="none")


two = {BOXES + ".num_classes": 2, MASKS + ".num_classes": 2}
CHECKPOINTS = [
    ("direction='none' from a trained file", start(none), Says(r"unused \(fius\.0")),
    ("direction='none' from a bare file", start(none, ""), Says(r"unused \(fius\.0")),
    ("one direction from a trained file", start(lambda: net(direction="vit_to_cnn")),
     Says(r"unused \(fius\.0\.squeeze")),
    ("both directions from an ensemble", start(net, direction="none"),
     "The towers fit, the exchanges do not: .*allow_missing"),
    ("gated exchanges", start(net, form="gated"), "another form: set form='gated' in the backbone"),
    ("ungated exchanges", start(net, form="ungated"), "another form: set form='ungated' in"),
    ("gated exchanges where they fit", start(lambda: net(form="gated"), form="gated"),
     Says("RobustNet from ")),
    ("another weave", start(lambda: net(weave=[(0, 0)])), "the exchanges do not: check weave"),
    ("weights that are NaN", start(net, change="backbone.cnn.conv1.weight"),
     r"1 not finite \(NaN or infinite\): cnn.conv1.weight. The training that wrote it had"),
    ("a test of what was trained", tested(), Says("the checkpoint fits: source .* loaded$")),
    ("a test with direction='none'", tested(**{"model.backbone.direction": "none"}),
     Says(r"the checkpoint fits: .*unused \(backbone\.fius")),
    ("a test of other classes", tested(**two),
     r"fc_cls.bias \(4,\), here \(3,\).*heads of the file are for another number of classes"),
    ("a test of another CNN", tested(**{"model.backbone.cnn": dict(arch="resnet18")}),
     "Check arch"),
    ("resumed as it was", trained(resume=True), WORKS),
    ("resumed without FIUs", trained(resume=True, **{"model.backbone.direction": "none"}),
     r"\d+ tensors are others: backbone.fius.0.*here missing.*Put num_classes, direction"),
    ("resumed without schedules", trained(training=dict(param_schedulers=None), resume=True),
     "lacks param_schedulers: start a new training"),
    ("resumed from who knows when", trained(training=dict(meta={}), resume=True),
     "lacks meta.epoch, meta.iter"),
    ("resumed with a word for meta", trained(training=dict(meta="x"), resume=True),
     "lacks meta, meta.epoch"),
    ("started from weights under 'model'", lambda tmp: trained(training=under("model"))(tmp),
     "wrapped otherwise than mmengine reads them .it finds none.: save them by torch.save.dict.st"),
    ("started from a compiled network",
     lambda tmp: trained(training=under("state_dict", "_orig_mod."))(tmp), "wrapped otherwise"),
    ("started from DDP's", lambda tmp: trained(training=under("state_dict", "module."))(tmp),
     WORKS),
    ("started from a file with a mask beside", lambda tmp: trained(training=dict(
        state_dict=of_three_classes().state_dict() | {"mask": torch.tensor(-torch.inf)}))(tmp),
     WORKS),
    ("resumed from weights alone",
     trained(training=dict(optimizer=None, message_hub=None), resume=True),
     "only the checkpoint of a training can be resumed, .* lacks optimizer, message_hub: .*load_"),
    ("started from a file in the home folder", trained(place="~/a.pth"), WORKS),
    ("started from half precision", trained(dtype=torch.half),
     "names a checkpoint in half precision .*get the one in float32"),
    ("started from another network", trained(source=lambda: net(cnn=dict(arch="resnet18"))),
     "of another architecture: 0 of the"),
    ("the same with a FlexibleRunner",
     trained(source=lambda: net(cnn=dict(arch="resnet18")), runner_type="FlexibleRunner"),
     "of another architecture: 0 of the"),
    ("resumed with other classes", trained(resume=True, **two),
     r"resumed with the model of its checkpoint, but \d tensors .*\(4,\), here \(3,\).*load_from="),
    ("started anew with other classes", trained(**two), WORKS),
    ("started from NaN", trained("backbone.cnn.conv1.weight"), "not finite .*name an earlier one"),
]  # fmt: skip


histories = HistoryBuffer([1.0], [1])
histories.__dict__["statistics_methods"] = dict(mean=HistoryBuffer.max)
READING = [
    ("a web page", lying("a.pth", b"<!DOCTYPE html><html>"), "is a web page, not a checkpoint"),
    ("a text", lying("a.pth", b"Not found"), "is a text file, not a checkpoint: name the file of"),
    ("a JSON", lying("a.pth", b' {"epoch": 3}'), "is a JSON file, not a checkpoint"),
    ("a pointer of Git LFS", lying("a.pth", b"version https://git-lfs.github.com/spec/v1\noid"),
     "is a pointer of Git LFS, not the file itself: run `git lfs pull`"),
    ("a plain pickle", lying("a.pkl", pickle.dumps(dict(a=np.ones(2)))),
     "is a pickle that torch.save did not write, and is refused"),
    ("nothing in it", lying("a.pth", b""), "0 bytes. is truncated or no checkpoint"),
    ("a folder", lying("a", lambda path: path.mkdir()), "a is a folder: name a file in it"),
    ("no tensors", lying("a.pth", lambda path: torch.save(dict(epoch=3), path)),
     "holds no tensors, its keys are epoch"),
    ("a text of another language", lying("a.pth", "Datei fehlt: ä".encode()), "is a text file"),
    ("a gzip", lying("a.pth", gzip.compress(b"a")), "is compressed: unpack it"),
    ("ONNX", lying("a.pth", b"\x08\x07\x12\x07pytorch" + bytes(99)), "or no checkpoint .not made"),
    ("TorchScript", lying("a.pth", lambda path: torch.jit.save(torch.jit.script(
        torch.nn.Linear(1, 1)), path)), "or no checkpoint .not made by torch.save"),
    ("safetensors under another name", lying("a.pth", lambda path: save_file(
        dict(a=torch.ones(1)), path)), WORKS),
    ("safetensors that begin as a web page", lying("a.safetensors", lambda path: save_file(
        dict(a=torch.ones(1)), path, metadata=dict(a="x" * 15300))), WORKS),
    ("an old format of a new pickle", lying("a.pth", lambda path: torch.save(
        dict(a=torch.ones(1)), path, pickle_protocol=4, _use_new_zipfile_serialization=False)),
     "not made by .* or with a pickle_protocol but 2"),
    ("numpy's small numbers", lying("a.pth", saved(np.int32(1), np.uint8([1]))), WORKS),
    ("numbers as keys", lying("a.pth", lambda path: torch.save({0: torch.ones(1)}, path)),
     "holds no tensors"),
    ("a user that is not there", lambda tmp: read_checkpoint("~no_such/a.pth"), "does not exist"),
    ("no name", lambda tmp: read_checkpoint(""), "checkpoint must name a file, got ''"),
    ("a list", lying("a.pth", lambda path: torch.save([1], path)), "must hold a dict of weights"),
    ("code", lying("a.pth", saved(Calls(os.system, "true"))), "holds pickled code .*system"),
    ("a method of mmengine's", lying("a.pth", saved(Calls(getattr, HistoryBuffer, "mean"))), WORKS),
    ("a table of mmengine's", lying("a.pth", saved(Calls(getattr, HistoryBuffer, "_statistics_"
     "methods"))), "holds pickled code .*getattr"),
    ("what makes classes of mmengine's", lying("a.pth", saved(Calls(getattr, OneCycle, "step"))),
     "holds pickled code .*getattr"),
    ("a history with methods of its own", lying("a.pth", saved(histories)), WORKS),
    ("itself", lying("a.pth", in_itself), "the checkpoint contains itself"),
]  # fmt: skip


@table(READING)
def test_files_that_are_read_as_checkpoints(what, do, expected, tmp_path):
    statistics = dict(HistoryBuffer._statistics_methods)
    judge(lambda: do(tmp_path), expected)
    assert HistoryBuffer._statistics_methods == statistics


@table(CHECKPOINTS)
def test_checkpoints(what, do, expected, tmp_path, logged):
    judge(lambda: do(tmp_path), expected, logged)


# ------------------------------------------------------------------------------------- tools


OPTIONS = [
    ("a key of the config", given(cfg_options={"model.backbone.arch": "nano"}), WORKS),
    ("a key of the Runner's", given(cfg_options={"load_from": "a.pth", "randomness.seed": 1}),
     WORKS),
    ("a key of the FlexibleRunner's", given(cfg_options={"strategy.type": "A"}), WORKS),
    ("keys that the Runner reads of the config",
     given(cfg_options={"find_unused_parameters": True, "model_wrapper_cfg.type": "A",
                        "sync_bn": "torch"}), WORKS),
    ("a key like no other", given(cfg_options={"zzqqy": 1}), "has 'zzqqy'. A key that is meant"),
    ("a misspelt key", given(cfg_options={"load_form": "a.pth"}),
     "--cfg-options sets load_form, and neither .* has 'load_form'; did you mean 'load_from'"),
    ("a misspelt first part", given(cfg_options={"trian_cfg.max_epochs": 1}),
     "sets trian_cfg.max_epochs, .*did you mean 'train_cfg'.*--allow-new-keys"),
    ("a new key that is meant", given(cfg_options={"mine": 1}, allow_new_keys=True), WORKS),
]  # fmt: skip


@table(OPTIONS)
def test_options_of_the_command_line(what, do, expected, tmp_path):
    judge(lambda: do(tmp_path), expected)


tower = {"model.backbone": dict(_delete_=True, type="robustnet_mm.ConvTower", arch="nano")}
STUDIES = [
    ("common sets a key inside what a row replaces",
     cells({"model.backbone.cnn.norm_eval": True}, tower),
     r"cell a: model.backbone.cnn is no argument of ConvTower, .*; common sets "
     r"'model.backbone.cnn.norm_eval': move it to the cells that have it"),
    ("common sets what the row's backbone has", cells({"model.backbone.norm_eval": True}, tower),
     WORKS),
]  # fmt: skip


@table(STUDIES)
def test_studies(what, do, expected, tmp_path, monkeypatch):
    judge(lambda: do(tmp_path, monkeypatch), expected)


INTERRUPTS = [
    ("before the first checkpoint", "train", r"Epoch\(train\) +\[1\]",
     r"interrupted: there is no checkpoint in .*work yet, start the training again"),
    ("after a checkpoint", "train", r"Epoch\(train\) +\[2\]",
     r"interrupted: the same command with --resume goes on from .*work/epoch_1\.pth"),
    ("a test", "test", r"Epoch\(test\)", "interrupted: the test has no result, start it again"),
]  # fmt: skip


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """What each of `INTERRUPTS` gives, all run at once."""
    data = tmp_path_factory.mktemp("data")
    for k in range(40):
        path = data / f"crops/{k % 10}/{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture((32, 32)))
    file_from(MODELS.build(config(CLASSIFIER).model), data)
    with ThreadPoolExecutor() as pool:
        runs = [
            pool.submit(interrupt, tool, moment, data, tmp_path_factory.mktemp("run") / "work")
            for _, tool, moment, _ in INTERRUPTS
        ]
    return [run.result() for run in runs]


@pytest.mark.parametrize("row", range(len(INTERRUPTS)), ids=ids(INTERRUPTS))
def test_ctrl_c_ends_a_tool_in_a_line_that_says_how_to_go_on(interrupted, row):
    status, said, before = interrupted[row]
    assert status == 130, before + said
    assert re.search(INTERRUPTS[row][3], said), before + said
    assert "Traceback" not in said
