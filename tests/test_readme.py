"""The README's lines of use run and give the shapes that stand beside them."""

import re
from pathlib import Path

from robustnet_mm.models import VARIANTS

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()


def test_the_lines_of_use_give_the_shapes_that_they_claim():
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    maps = " ".join(str(tuple(feat.shape)) for feat in names["out"].maps)
    assert f"# {maps}" in code
    assert names["out"].tokens.shape == (2, 1 + 20 * 31, 768)
    assert names["out"].grid == (20, 31) and "(20, 31)" in code
    assert names["net"].exchanges[:2] == [(1, 1), (3, 2)] and names["net"].exchanges[-1] == (21, 11)
    assert names["MODELS"].build(names["pair"]).out_channels[-1] == 768


def test_every_file_that_the_documents_link_to_exists():
    root = Path(__file__).resolve().parents[1]
    for page in (root / "README.md", *(root / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_table_of_networks_has_every_variant():
    assert all(f"| {arch} |" in README for arch in VARIANTS)
