"""Packaging. The version is read, not imported; no mm* distribution is named (see below)."""

import os
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
MIM_PARTS = ("configs", "tools", "model-index.yml")


class BuildWithMim(build_py):
    """Carry configs, tools and the model index in `robustnet_mm/.mim`, where the hosts look.

    A wheel gets copies, made in the build folder; an editable install gets links in the source. The
    usual recipe asks sys.argv for 'develop', which today's pip never passes.
    """

    def run(self) -> None:
        super().run()
        mim = Path("robustnet_mm", ".mim")
        if not self.editable_mode:
            mim = Path(self.build_lib) / mim
        if mim.exists():
            shutil.rmtree(mim)
        mim.mkdir(parents=True)
        for part in MIM_PARTS:
            source = ROOT / part
            if self.editable_mode:
                (mim / part).symlink_to(os.path.relpath(source, mim.resolve()))
            elif source.is_dir():
                shutil.copytree(source, mim / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, mim / part)


def read(name: str) -> str:
    """Return the text of a file of this folder, '' where it is absent."""
    path = ROOT / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


ANALYSIS = [
    "captum>=0.8",
    "grad-cam>=1.5.4",
    "tensorboard>=2.18",
    "matplotlib>=3.9",
    "scipy>=1.11",
    "pycocotools>=2.0.8",
]

setup(
    name="robustnet-mm",
    version=re.search(r'__version__ = "(.+)"', read("robustnet_mm/__init__.py"))[1],
    description="A pretrained CNN and a pretrained ViT woven into one backbone for OpenMMLab",
    long_description=read("README.md"),
    long_description_content_type="text/markdown",
    author="The robustnet_mm authors",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["robustnet_mm", "robustnet_mm.*"]),
    cmdclass={"build_py": BuildWithMim},
    # mmengine, mmcv and the hosts are not named: upstream's distributions and the maintained
    # onedl-* forks own the same files and overwrite each other in silence. requirements.txt pins
    # the tested set and `tools/install.py --check` looks at what is really there.
    install_requires=[
        "numpy>=2.0",
        "torch>=2.4",
        "torchvision>=0.19",
        "timm>=1.0.9",
        "safetensors",
    ],
    extras_require={
        "demo": [
            "scikit-image>=0.24",
            "scikit-learn>=1.5",
            "pycocotools>=2.0.8",
            "matplotlib>=3.9",
        ],
        "analysis": ANALYSIS,
        "export": ["onnx>=1.18", "onnxscript>=0.5", "onnxruntime>=1.22"],
        "style": ["torchmetrics>=1.6"],
        "seg": ["ftfy", "regex", "prettytable"],  # of mmseg, which is not named either
        "app": ["gradio>=5", *ANALYSIS],
        "docs": ["mkdocs-material>=9.6", "mkdocstrings-python>=1.16"],
        "dev": ["pytest>=8", "pytest-xdist>=3.6", "ruff"],
    },
    classifiers=[
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
