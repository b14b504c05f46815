#!/usr/bin/env python3
"""Draw docs/demo/hits.png: the page of hits of docs/detector.md, with three answers (needs `make browser`).

python tools/make_page_picture.py [OUT.png]
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from browser import open_browser, press, until, visit  # noqa: E402

COMMANDS = (
    [str(ROOT / "tools" / "make_sounds.py"), "clips", "--each", "10", "--walks", "walks"],
    ["-m", "edgel3_np", "train", "clips", "-o", "kinds.npz"],
    ["-m", "edgel3_np", "detect", "walks/0.wav", "-c", "kinds.npz", "--html", "page.html", "--quiet"],
)


def main(output):
    """Run the commands of the page, answer, and write the picture."""
    with tempfile.TemporaryDirectory() as folder:
        for command in COMMANDS:
            subprocess.run([sys.executable, *command], cwd=folder, check=True, env={"PYTHONPATH": str(ROOT)})
        with open_browser(folder) as browser:
            browser.set_window_size(1000, 760)
            visit(browser, Path(folder, "page.html"))
            until(browser, "hits.length")
            browser.execute_script("nextBox.checked = false; scrollTo(0, 0)")
            press(browser, "u", "n", "n")
            browser.save_screenshot(str(output))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else ROOT / "docs" / "demo" / "hits.png")
