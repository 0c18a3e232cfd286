"""The README's lines of use run and give the shapes that stand beside them."""

import re

from helpers import ROOT

from robustnet_mm.models import VARIANTS

README = (ROOT / "README.md").read_text()


BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_lines_of_use_print_what_stands_beside_them(capsys):
    use, pair = BLOCKS
    names = {}
    exec(compile(use, "README.md", "exec"), names)
    *maps, tokens, exchanges = capsys.readouterr().out.splitlines()
    claims = dict(re.findall(r"print\((.*)\) +# (.*)", use))
    assert claims["tuple(feat.shape)"] == f"{maps[0]} ... {maps[-1]}" and len(maps) == 4
    assert claims["tuple(out.tokens.shape), out.grid"] == tokens
    assert claims["net.exchanges[:2]"].startswith(f"{exchanges}: ")
    exec(compile(pair, "README.md", "exec"), names)
    assert names["MODELS"].build(names["pair"]).out_channels[-1] == 768


def test_every_file_that_the_documents_link_to_exists():
    root = ROOT
    for page in (root / "README.md", *(root / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_table_of_networks_has_every_variant():
    assert all(f"| {arch} |" in README for arch in VARIANTS)
