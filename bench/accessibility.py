"""Runs axe-core over the sample reports, and says where they are wider than the window.

    npm install --prefix /tmp/axe axe-core
    .venv/bin/python bench/accessibility.py --axe /tmp/axe/node_modules/axe-core/axe.min.js [--chromium chromium]

The pages of docs/ run no script: a copy of each gets axe-core and is opened at 1280 pixels and, in a frame, at 420 (a
window without a head is 500 wide at least). Exit code 1 where axe-core finds a fault or a page is too wide.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from html import unescape
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHECK = """<script>%s</script><script>addEventListener('load', () => axe.run().then(found => {
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const faults = found.violations.map(one => [one.impact, one.id, one.nodes.length, one.nodes[0].html.slice(0, 120)]);
  const told = document.createElement('pre'); told.id = 'found';
  told.textContent = JSON.stringify({wide, faults});
  (parent === window ? document : parent.document).body.append(told);
}))</script></body>"""


def check(page: Path, width: int, axe: str, chromium: str) -> dict:
    """What axe-core finds, and by how many pixels the page is wider than `width`."""
    with tempfile.TemporaryDirectory() as folder:
        copy, opened = Path(folder) / "page.html", Path(folder) / "opened.html"
        copy.write_text(page.read_text(encoding="utf-8").replace("</body>", CHECK % axe), encoding="utf-8")
        frame = f'<iframe src="page.html" style="width:{width}px;height:900px;border:0"></iframe>'
        opened.write_text(f"<!doctype html><html lang=en><title>-</title><body>{frame}</body></html>", encoding="utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
        more = ["--window-size=1320,1000", "--virtual-time-budget=20000", "--dump-dom"]
        ran = subprocess.run([chromium, *options, *more, opened.as_uri()], check=True, capture_output=True, text=True)
    found = re.search(r'<pre id="found">(.*?)</pre>', ran.stdout, re.DOTALL)
    if not found:
        raise SystemExit(f"axe-core did not answer for {page.name}")
    return json.loads(unescape(found[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--axe", type=Path, required=True)
    parser.add_argument("--chromium", default="chromium")
    arguments = parser.parse_args()
    axe, failed = arguments.axe.read_text(encoding="utf-8"), False
    for page in sorted((ROOT / "docs").glob("sample-report*.html")):
        for width in (1280, 420):
            found = check(page, width, axe, arguments.chromium)
            print(page.name, width, found)
            failed = failed or bool(found["faults"]) or found["wide"] > 0
    sys.exit(failed)


if __name__ == "__main__":
    main()
