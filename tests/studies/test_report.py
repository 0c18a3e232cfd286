from mmengine.config import Config

from robustnet_mm.studies import compare, markdown


def test_a_table_shows_mean_deviation_and_interval():
    runs = dict(
        a={0: dict(value=50.0), 1: dict(value=52.0)}, b={0: dict(value=40.0), 1: dict(value=44.0)}
    )
    table = markdown(runs, compare(runs, ["b"]), Config(dict(metric="m")))
    assert "| a | 2 | 51.00 ± 1.41 | +9.00 [-3.71, +21.71] |" in table
