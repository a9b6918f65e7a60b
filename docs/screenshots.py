"""Takes the screenshots of the docs in a headless Chromium: a study's report, and the study in MLflow's stock UI.

    python docs/screenshots.py runs/demo [--out docs/images]

For MLflow it starts `cov-study ui` in a folder of its own, mirrors the study there, and follows the links of its note.
Needs selenium, Chromium and its driver (`apt-get install chromium chromium-driver`, `pip install selenium`).
"""

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

from study.tracking.mirror import sync
from study.tracking.settings import load_settings

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1440,940",
)  # fmt: skip
TIDY = """
localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");
localStorage.setItem("mlflow.workflowType_v1", '"machine_learning"');
"""
"""As a user leaves it: the assistant closed, "Model training" chosen."""
TEXT = "return document.body.textContent"
CURVES = "return document.querySelectorAll('.js-plotly-plot .scatterlayer path.js-line').length"


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """The address of a `cov-study ui` in `folder`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "mlflow.yml").write_text(f"server: {{port: {port}}}\n")
    with (folder / "server.log").open("wb") as log:
        command = [sys.executable, "-m", "study", "ui"]
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=5):
                break
            if process.poll() is not None:
                sys.exit((folder / "server.log").read_text())
            time.sleep(0.1)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def chromium(profile: Path) -> webdriver.Chrome:
    """A headless Chromium with a profile of its own."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))


class Browser:
    """A Chromium that shows pages of one MLflow server."""

    def __init__(self, address: str, profile: Path) -> None:
        self._driver = chromium(profile)
        self._address = address
        self._driver.get(address)
        self._driver.execute_script(TIDY)

    def shoot(self, page: str, path: Path, *, texts: list[str], num_curves: int = 0, click: str = "") -> None:
        """Opens a page, waits until it shows the texts and curves, and takes its picture.

        Raises:
            TimeoutException: it does not show them within a minute.
        """
        self._driver.get("about:blank")
        self._driver.get(f"{self._address}/{page}")
        wait = WebDriverWait(self._driver, 60)
        wait.until(lambda driver: all(text in driver.execute_script(TEXT) for text in texts))
        wait.until(lambda driver: driver.execute_script(CURVES) >= num_curves)
        for button in self._driver.find_elements("xpath", f"//*[text()='{click}']") if click else ():
            button.click()
        time.sleep(1.0)  # the curves are drawn
        self._driver.save_screenshot(str(path))

    def close(self) -> None:
        """Ends the browser."""
        self._driver.quit()


VIEWS = {
    "desktop": ("light", 1280, 1500, 1.0, "top"),
    "dark": ("dark", 1280, 1500, 1.0, "cost"),
    "phone": ("light", 390, 844, 2.0, "verdict"),
}
"""Theme, width and height in CSS pixels, scale, and the section at the top, of each picture of the report."""


def take_report(directory: Path, out: Path) -> list[Path]:
    """The pictures of the study's report."""
    page = (directory / "report" / "index.html").as_uri()
    pictures = []
    with tempfile.TemporaryDirectory() as profile:
        driver = chromium(Path(profile))
        try:
            for name, (theme, width, height, scale, section) in VIEWS.items():
                feature = {"name": "prefers-color-scheme", "value": theme}
                driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
                metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600}
                driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
                driver.get("about:blank")
                driver.get(f"{page}#{section}")
                time.sleep(1.0)  # the figures are drawn
                pictures.append(out / f"report-{name}.png")
                driver.save_screenshot(str(pictures[-1]))
        finally:
            driver.quit()
    return pictures


def take_mlflow(directory: Path, out: Path) -> list[Path]:
    """Mirrors the study into a server and returns the pictures taken of it."""
    with tempfile.TemporaryDirectory() as name, server(Path(name)) as address:
        sync(directory, load_settings(environ={"MLFLOW_TRACKING_URI": address}))
        client = MlflowClient(address)
        experiment = client.get_experiment_by_name("cov-study").experiment_id
        arms = client.search_runs([experiment], "tags.level = 'arm'")
        study = client.search_runs([experiment], "tags.level = 'study'")[0]
        names = sorted(arm.info.run_name for arm in arms)
        automatic = min(
            (arm for arm in arms if arm.data.tags["strategy"] == "automatic"), key=lambda a: len(a.info.run_name)
        )
        num_terms = sum(key.startswith("incumbent/weight_") for key in automatic.data.metrics)
        browser = Browser(address, Path(name) / "profile")
        try:
            cost, trials = links(study)
            pictures = {key: out / f"mlflow-{key}.png" for key in ("study", "cost", "trials", "weights")}
            browser.shoot(
                f"#/experiments/{experiment}/runs/{study.info.run_id}", pictures["study"],
                texts=["Quality against cost", "Trials, grouped by arm", *names], click="Show more",
            )  # fmt: skip
            browser.shoot(cost, pictures["cost"], texts=["incumbent/val_psnr", *names], num_curves=len(arms))
            browser.shoot(trials, pictures["trials"], texts=["Group by: arm", *(f"Group: {name}" for name in names)])
            browser.shoot(links(automatic)[1], pictures["weights"], texts=["incumbent/weight_"], num_curves=num_terms)
        finally:
            browser.close()
    return list(pictures.values())


def links(run: Run) -> list[str]:
    """Addresses in the UI that the note of a run names, charts and tables only."""
    found = re.findall(r"\]\((#/[^)]+)\)", run.data.tags["mlflow.note.content"])
    return [address for address in found if "/artifacts" not in address]


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="folder of a finished study")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for take in (take_report, take_mlflow):
        for picture in take(options.study.absolute(), options.out):
            print(picture)


if __name__ == "__main__":
    main()
