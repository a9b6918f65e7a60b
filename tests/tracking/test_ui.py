"""MLflow's stock UI in a headless Chromium: what a user sees of a study, without configuring anything."""

import importlib.util
import shutil
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "screenshots.py"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromedriver") is None, reason="no Chromium here: apt-get install chromium-driver")
def test_the_links_of_the_note_show_the_comparison(study: Path, tmp_path: Path) -> None:
    """The script waits for a curve of every arm on the cost axis, for a group of every arm, and for the weights."""
    pytest.importorskip("selenium", reason="no selenium here: pip install selenium")
    spec = importlib.util.spec_from_file_location("screenshots", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    screenshots = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(screenshots)
    pictures = screenshots.take_mlflow(study, tmp_path)
    assert [picture.name for picture in pictures] == [
        "mlflow-study.png", "mlflow-cost.png", "mlflow-trials.png", "mlflow-weights.png",
    ]  # fmt: skip
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)
