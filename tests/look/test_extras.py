import sys

import pytest
from helpers import classifier, photos

from robustnet_mm.look import cam, saliency


@pytest.mark.parametrize(
    ("module", "name", "draw"),
    [("captum", "captum", saliency), ("pytorch_grad_cam", "grad-cam", cam)],
)
def test_a_missing_package_is_named_with_the_extra_that_brings_it(monkeypatch, module, name, draw):
    for loaded in [key for key in sys.modules if key.partition(".")[0] == module]:
        monkeypatch.setitem(sys.modules, loaded, None)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"package {name} .*pip install 'robustnet-mm\[analysis"):
        draw(classifier(), photos(), "sum")
