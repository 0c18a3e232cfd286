"""The package as a plugin: what a wheel carries, and how a project elsewhere inherits from it."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from helpers import ROOT
from modelindex.load_model_index import load

CONFIGS = {
    "imagenet/robustnet-tiny-patch16_20e_in1k.py": "ImageClassifier",
    "coco/mask-rcnn_robustnet-tiny-patch16_fpn_1x_coco.py": "MaskRCNN",
    "digit_scenes/robustnet-nano_5e_crops.py": "ImageClassifier",
    "digit_scenes/mask-rcnn_robustnet-nano_digit-scenes.py": "MaskRCNN",
}
# How a downstream config names its base; `mim` is the installed package's folder of configs
ROUTES = {
    "relative": "_base_ = {relative!r}",
    "scope": "_base_ = 'robustnet_mm::{name}'",
    "package": "_base_ = __import__('robustnet_mm').__path__[0] + '/.mim/configs/{name}'",
}
PAGE = (ROOT / "docs/inference.md").read_text()
HEAVY = ("torch", "mmengine", "mmcv", "mmdet", "mmpretrain", "timm")


def python(code, *args, cwd, site=None):
    """Run `code` in a fresh interpreter, with the package of `site` in front; return its output."""
    env = dict(os.environ, PYTHONPATH=str(site or ""), PYTHONWARNINGS="ignore")
    command = [sys.executable, "-c", code, *map(str, args)]
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def pip(*args, cwd):
    """Run pip without any index."""
    command = [sys.executable, "-m", "pip", *args, "--no-deps", "--no-index", "-q"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what a checkout holds, so that building leaves nothing in the real one."""
    names = ["robustnet_mm", "configs", "tools", "setup.py", "pyproject.toml", "MANIFEST.in"]
    names += ["model-index.yml", "requirements.txt", "README.md", "LICENSE"]
    folder = tmp_path_factory.mktemp("source")
    ignore = shutil.ignore_patterns("__pycache__", ".mim")
    for name in names:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=ignore)
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    """The wheel that pip builds."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-build-isolation", "-w", str(folder), str(source), cwd=folder)
    return next(folder.glob("robustnet_mm-*.whl"))


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """A folder with the wheel installed, away from the checkout."""
    folder = tmp_path_factory.mktemp("site")
    pip("install", "--target", str(folder), str(wheel), cwd=folder)
    return folder


def mim_files(wheel):
    """Return the names below `robustnet_mm/.mim` in a wheel."""
    start = "robustnet_mm/.mim/"
    names = zipfile.ZipFile(wheel).namelist()
    return {n.removeprefix(start) for n in names if n.startswith(start)}


def test_the_wheel_carries_every_config_the_tools_and_the_index(wheel, source):
    expected = {str(p.relative_to(source)) for p in (source / "configs").rglob("*") if p.is_file()}
    expected |= {str(p.relative_to(source)) for p in (source / "tools").rglob("*") if p.is_file()}
    assert len(expected) > 10
    assert mim_files(wheel) == expected | {"model-index.yml"}


def test_the_wheel_holds_the_package_and_no_tests(wheel):
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"robustnet_mm"}


def test_the_wheel_names_no_mm_distribution_as_a_requirement(wheel):
    archive = zipfile.ZipFile(wheel)
    (metadata,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
    text = archive.read(metadata).decode()
    needs = [line.split(": ")[1] for line in text.splitlines() if line.startswith("Requires-Dist")]
    assert any(need.startswith("torch>=") for need in needs)
    assert not [need for need in needs if need.startswith(("mm", "onedl"))]


def test_a_wheel_made_from_the_source_distribution_carries_the_same(wheel, source, tmp_path):
    shutil.copytree(source, tmp_path / "s", ignore=shutil.ignore_patterns("build", "*.egg-info"))
    command = [sys.executable, "setup.py", "-q", "sdist", "-d", str(tmp_path)]
    subprocess.run(command, cwd=tmp_path / "s", check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    pip("wheel", "--no-build-isolation", "-w", str(tmp_path), str(archive), cwd=tmp_path)
    assert mim_files(next(tmp_path.glob("*.whl"))) == mim_files(wheel)


def test_an_editable_install_links_to_the_checkout():
    mim = ROOT / "robustnet_mm/.mim"
    if not mim.exists():
        pytest.skip("this checkout is not installed in editable mode: make install")
    for part in ("configs", "tools", "model-index.yml"):
        assert (mim / part).is_symlink() and (mim / part).resolve() == ROOT / part


def test_the_index_names_every_config_that_is_trained_on_public_data():
    mim = ROOT if not (ROOT / "robustnet_mm/.mim").exists() else ROOT / "robustnet_mm/.mim"
    index = load(str(mim / "model-index.yml"))
    named = {model.config: model.name for model in index.models}
    folders = ("coco", "imagenet", "open_images", "segmentation", "visual_tokens")
    configs = [path for folder in folders for path in (ROOT / "configs" / folder).glob("*.py")]
    assert named == {str(path.relative_to(ROOT)): path.stem for path in configs}
    assert len(set(named.values())) == len(configs)


def test_mmpretrain_makes_a_model_by_the_name_that_the_index_has():
    code = PAGE.split("## A model by its name")[1].split("```python\n")[1].split("```")[0]
    names = {}
    exec(code, names)  # noqa: S102
    assert type(names["model"].backbone).__name__ == "RobustNet"


def test_importing_the_package_imports_neither_torch_nor_a_host(site, tmp_path):
    code = "import robustnet_mm, sys; print(robustnet_mm.__file__, *sys.modules, sep='\\n')"
    where, *modules = python(code, cwd=tmp_path, site=site).splitlines()
    assert Path(where) == site / "robustnet_mm/__init__.py"
    assert not set(modules) & set(HEAVY)


INHERIT = """
import json, sys
import robustnet_mm.registry  # registers `robustnet_mm::`; the tools of this package do the same
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import DATASETS, METRICS, MODELS, TRANSFORMS, init_default_scope

def plain(node):
    # what a route adds is the scope in which names are looked up
    if isinstance(node, dict):
        return {k: plain(v) for k, v in node.items() if k != "_scope_"}
    return [plain(v) for v in node] if isinstance(node, (list, tuple)) else str(node)

def look_up(registry, nodes, scope):
    for node in nodes:
        with registry.switch_scope_and_registry(node.get("_scope_", scope)) as active:
            assert active.get(node.type), f"{node.type} is unknown under {active.scope}"

result = {}
for path, name in json.loads(sys.argv[1]):
    try:
        cfg = get_config(name) if name else Config.fromfile(path)
        init_default_scope(cfg.default_scope)
        look_up(METRICS, [cfg.val_evaluator], None)
        for data in (cfg.train_dataloader.dataset, cfg.val_dataloader.dataset):
            look_up(DATASETS, [data], None)
            look_up(TRANSFORMS, data.pipeline, data.get("_scope_"))
        found = dict(cfg=plain(cfg.to_dict()), model=type(MODELS.build(cfg.model)).__name__)
    except Exception as error:
        found = dict(error=f"{type(error).__name__}: {error}")
    result[path] = found
print("RESULT" + json.dumps(result))
"""


@pytest.fixture(scope="module")
def inherited(site, tmp_path_factory):
    """What each route yields: {(route, config): dict(cfg, model) or dict(error)}."""
    project = tmp_path_factory.mktemp("project")
    asked = {}
    for name in CONFIGS:
        relative = os.path.relpath(site / "robustnet_mm/.mim/configs" / name, project)
        for route, base in ROUTES.items():
            path = project / f"{route}_{Path(name).name}"
            line = base.format(name=name, relative=relative)
            path.write_text(f"{line}\nmodel = dict(backbone=dict(direction='none'))\n")
            asked[route, name] = (str(path), "")
        asked["hub", name] = (name, f"robustnet_mm::{name}")
    pairs = json.dumps(list(asked.values()))
    output = python(INHERIT, pairs, cwd=project, site=site)
    found = json.loads(output.split("RESULT")[1])
    return {key: found[path] for key, (path, _) in asked.items()}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("route", [*ROUTES, "hub"])
def test_a_project_elsewhere_inherits_a_config_and_builds_its_model(inherited, route, name):
    found = inherited[route, name]
    assert "error" not in found, found["error"]
    assert found["model"] == CONFIGS[name]
    backbone = found["cfg"]["model"]["backbone"]
    assert backbone["type"] == "robustnet_mm.RobustNet" and backbone["arch"] in name
    assert backbone.get("direction") == ("none" if route in ROUTES else None)
    if route in ROUTES:
        assert found["cfg"] == inherited["relative", name]["cfg"]


BY_CUSTOM_IMPORTS = ("robustnet_mm.segmentation", "robustnet_mm.visual_tokens.head")
RESOLVE = """
import json, os, sys
from importlib.util import find_spec
from mmengine import registry as registries
pairs, scopes = json.loads(sys.argv[1]), {}
for scope in sys.argv[2:]:
    if find_spec(scope) is None or os.fork():  # each host in a process that imported none
        continue
    assert not {"robustnet_mm", *sys.argv[3:]} & sys.modules.keys()
    registries.init_default_scope(scope)
    for kind, name in pairs:
        with getattr(registries, kind).switch_scope_and_registry(None) as active:
            found = active.get("robustnet_mm." + name)
        assert found is not None and found.__name__ == name, (kind, name, found)
    os.write(1, f"{scope} resolved\\n".encode())
    os._exit(0)
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
"""


def test_every_registered_name_resolves_under_hosts_that_imported_nothing(tmp_path):
    from mmengine.registry import Registry

    from robustnet_mm import registry

    pairs = []
    for kind, child in vars(registry).items():
        if isinstance(child, Registry) and child.scope == "robustnet_mm":
            child.import_from_location()
            pairs += [
                (kind, name)
                for name, part in child.module_dict.items()
                if not part.__module__.startswith(BY_CUSTOM_IMPORTS)
            ]
    assert ("MODELS", "RobustNet") in pairs and ("HOOKS", "NaNGuardHook") in pairs
    hosts = ["mmengine", "mmdet", "mmpretrain", "mmseg"]
    said = python(RESOLVE, json.dumps(pairs), *hosts, cwd=tmp_path, site=ROOT)
    resolved = {line.split()[0] for line in said.splitlines() if line.endswith(" resolved")}
    assert resolved == {host for host in hosts if find_spec(host)}
