import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest
from helpers import ROOT

sys.path.insert(0, str(ROOT / "tools"))

import demo  # noqa: E402

SMALL = "--scenes 12 2 --crops 40 10 --epochs 1 1".split()
SUMMARY = r"bbox_mAP=-?\d\.\d{3} segm_mAP=-?\d\.\d{3} seconds=\d+"


def start(folder: Path, *flags: str) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "tools/demo.py"), *SMALL, *flags]
    command += ["--data", str(folder / "data"), "--work-dir", str(folder / "out")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_until(condition, seconds: float = 120):
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, "waited in vain"
        time.sleep(0.1)


def processes_in(folder: Path) -> list[str]:
    """Command lines of the living processes that name `folder`."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(file.read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # it has ended
    return [line for line in lines if str(folder) in line]


def test_a_killed_demo_goes_on_where_it_was_and_a_finished_one_is_reused(tmp_path):
    log, out = tmp_path / "out/classifier.log", tmp_path / "out"
    killed = start(tmp_path, "--processes", "2")
    wait_until(lambda: log.is_file() and "Epoch(train)" in log.read_text())
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    wait_until(lambda: not processes_in(tmp_path), 60)  # no training runs on unseen
    made = (tmp_path / "data/finished.json").stat().st_mtime_ns

    said = start(tmp_path, "--processes", "1").communicate()[0]
    assert re.fullmatch(SUMMARY, said.splitlines()[-1]), said
    assert re.search(r"detector: bbox_mAP -?\d\.\d{3}, segm_mAP", said), said
    assert (tmp_path / "data/finished.json").stat().st_mtime_ns == made
    height, width = cv2.imread(str(out / "predictions.png")).shape[:2]
    assert width > 1000 and height > 280
    assert cv2.imread(str(out / "curves.png")).std() > 5
    text = (out / "detector.log").read_text()
    assert f"RobustNet from {out}/classifier/epoch_1.pth" in text  # pretraining is used

    again = start(tmp_path, "--processes", "1").communicate()[0]
    assert "(--fresh starts again)" in again and "starting" not in again
    assert again.splitlines()[-1].rpartition(" ")[0] == said.splitlines()[-1].rpartition(" ")[0]


def test_a_failing_step_ends_the_demo_with_its_log_and_last_lines(tmp_path):
    log = tmp_path / "step.log"
    command = [sys.executable, "-c", "print('before'); raise RuntimeError('the reason')"]
    with pytest.raises(SystemExit) as caught:
        demo.run_tool("classifier", command, log)
    message = str(caught.value)
    assert "classifier failed (exit code 1)" in message and str(log) in message
    assert "the reason" in message and "before" in log.read_text()


def test_steps_run_with_one_thread_unless_the_user_says_otherwise(tmp_path, monkeypatch):
    command = [sys.executable, "-c", "import os; print(os.environ['OMP_NUM_THREADS'])"]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    demo.run_tool("step", command, tmp_path / "default.log")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    demo.run_tool("step", command, tmp_path / "asked.log")
    assert (tmp_path / "default.log").read_text() == "1\n"
    assert (tmp_path / "asked.log").read_text() == "3\n"


def test_the_screen_tells_the_newest_numbers_of_a_training(tmp_path):
    assert demo.newest(tmp_path) == {}
    for name, rows in (
        ("20260101_000000", ['{"loss": 9.0, "epoch": 1, "iter": 40, "step": 40}']),
        ("20260101_000100", ['{"loss": 2.25, "epoch": 2, "iter": 90, "step": 90}', '{"los']),
    ):
        (tmp_path / name / "vis_data").mkdir(parents=True)
        (tmp_path / name / "vis_data/scalars.json").write_text("\n".join(rows))
    assert demo.told(demo.newest(tmp_path), 5) == "epoch 2/5, iteration 90, loss 2.250"
    scores = {"coco/bbox_mAP": 0.705, "coco/bbox_mAP_50": 0.9, "coco/segm_mAP": 0.6, "step": 5}
    assert demo.told(scores, 5) == "bbox_mAP 0.705, segm_mAP 0.600"


def test_a_curve_joins_the_starts_of_a_resumed_training(tmp_path):
    for name, steps in (("20260101_000000", (1, 2, 3)), ("20260101_000100", (3, 4))):
        folder = tmp_path / name / "vis_data"
        folder.mkdir(parents=True)
        rows = [json.dumps({"loss": step + 0.5, "step": step}) for step in steps]
        (folder / "scalars.json").write_text(
            "\n".join([*rows, '{"coco/bbox_mAP": 0.7, "step": 1}'])
        )
    assert demo.read_curve(tmp_path, "loss") == ([1, 2, 3, 4], [1.5, 2.5, 3.5, 4.5])
    assert demo.read_curve(tmp_path, "coco/bbox_mAP") == ([1], [0.7])


def test_fresh_removes_only_what_the_demo_made(tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    for name in (*demo.MADE, "precious"):
        (out / name).mkdir(parents=True)
    (out / "classifier.log").write_text("old")
    monkeypatch.setattr(sys, "argv", ["demo.py", "--fresh", "--work-dir", str(out)])
    monkeypatch.setattr(demo, "make_data", lambda args: sys.exit(0))
    with pytest.raises(SystemExit):
        demo.main()
    assert os.listdir(out) == ["precious"]


@pytest.mark.parametrize("flags", [["--epochs", "0", "1"], ["--processes", "0"]])
def test_numbers_below_one_are_refused(flags, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["demo.py", *flags])
    with pytest.raises(SystemExit):
        demo.parse_args()
    assert "must be at least 1, got" in capsys.readouterr().err
