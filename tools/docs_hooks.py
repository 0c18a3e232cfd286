"""What the site has beside docs/: the files of the root, and a page of docstrings for each package.

mkdocs calls these functions (mkdocs.yml, `hooks`).
"""

import re
from importlib import import_module
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"README.md": "index.md"} | {name: name for name in ("CONTRIBUTING.md", "CHANGELOG.md")}
_PLACES = r"(?:\.\./)?(?:(?:robustnet_mm|tools|configs|tests)/|LICENSE)"
OUTSIDE = re.compile(rf"\[([^\]]*)\]\({_PLACES}[^)]*\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand elsewhere, or are made."""
    for source, target in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        text = text.replace("](README.md", "](index.md")
        files.append(File.generated(config, target, content=text))
    for path in sorted((ROOT / "robustnet_mm").glob("*/__init__.py")):
        name = path.parent.name
        target = f"api/{name}.md"
        if target in str(config.nav):
            files.append(File.generated(config, target, content=api_page(name)))
    return files


def api_page(package: str) -> str:
    """The public names of a package, with their docstrings."""
    module = import_module(f"robustnet_mm.{package}")
    lines = [f"# robustnet_mm.{package}", "", (module.__doc__ or "").strip(), ""]
    for name in sorted(module.__all__, key=str.lower):
        thing = getattr(module, name)
        place = getattr(thing, "__module__", None) or ""  # constants have none
        if place.startswith("robustnet_mm."):
            lines += [f"::: {place}.{thing.__name__}", ""]
    return "\n".join(lines)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links to files that are not in the site become their names."""
    return OUTSIDE.sub(r"`\1`", markdown)
