import numpy as np

from robustnet_mm.look import Detections
from robustnet_mm.look.panels import bars, heat, histogram, lines, panel, photo


def test_a_panel_draws_every_kind_of_cell():
    pixels = np.full((40, 60, 3), 200, np.uint8)
    mask = np.zeros((1, 40, 60), bool)
    mask[0, 10:20, 10:20] = True
    found = Detections(np.array([[5, 5, 30, 30]]), np.array([1]), np.array([0.5]), mask)
    ramp = np.arange(24.0).reshape(4, 6)
    rows = [
        [photo(pixels, "input", found, "class {}".format), heat(ramp, "map", "value")],
        [heat(ramp - 12, "signed", "value", signed=True), heat(ramp, "over", "value", pixels)],
        [bars(["a", "b"], np.array([0.9, 0.1]), "bars"), heat(0 * ramp, "flat", "value")],
        [histogram(np.arange(4.0), np.ones((2, 3)) / 3, "spread", ["1", "2"])],
        [lines({"a": np.arange(3.0), "b": np.ones((3, 2))}, "lines", ("x", "y"), ["p", "q", "r"])],
    ]
    drawn = panel(rows, "caption\nof two lines", wide=1.5)
    assert drawn.dtype == np.uint8 and drawn.shape[2] == 3 and drawn.std() > 20
    assert drawn.shape[0] > 5 * 280 and drawn.shape[1] > 2 * 1.5 * 280


def test_an_object_shows_on_the_picture_in_its_place():
    pixels = np.zeros((50, 50, 3), np.uint8)
    mask = np.zeros((1, 50, 50), bool)
    mask[0, 30:40, 5:15] = True
    found = Detections(np.array([[4, 29, 16, 41]]), np.array([0]), None, mask)
    plain = panel([[photo(pixels, "")]], "")
    drawn = panel([[photo(pixels, "", found)]], "")
    rows, columns = np.nonzero((plain != drawn).any(-1))
    height, width = drawn.shape[:2]
    assert rows.mean() > 0.55 * height and columns.mean() < 0.5 * width


def test_the_point_that_asks_is_marked():
    black = np.zeros((50, 50, 3))
    plain, drawn = (panel([[photo(black, "", point=p)]], "") for p in (None, (9, 40)))
    rows, columns = np.nonzero((plain != drawn).any(-1))
    height, width = drawn.shape[:2]
    assert rows.mean() > 0.6 * height and columns.mean() < 0.4 * width
