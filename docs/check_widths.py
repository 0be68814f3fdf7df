"""Shows every page of the built site in headless Chromium: ``python docs/check_widths.py docs/_build/html``.

Each page is laid out at the widths of a telephone, a tablet and two desktops, without a network. A fault is a page that
is wider than its window, a file that cannot be loaded, or a formula without a height. ``--picture DIR`` also saves the
pages named by ``--pages`` as pictures.
"""

from __future__ import annotations

import argparse
import functools
import html
import http.server
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

WIDTHS = (360, 768, 1280, 1440)
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
#: Opens each page in a frame of each width, one after the other, and writes the faults into its own document.
FRAMES = """<!doctype html><meta charset="utf-8"><body><pre id="faults"></pre><script>
const pages = PAGES, widths = WIDTHS, faults = [];
const load = (page, width) => new Promise((done) => {
  const frame = document.createElement("iframe");
  frame.style = `width: ${width}px; height: 900px; border: 0`;
  frame.src = page;
  frame.onload = () => setTimeout(() => {
    const inner = frame.contentDocument, root = inner.documentElement;
    const overflow = (e) => frame.contentWindow.getComputedStyle(e).overflowX;
    const scrolls = (e) => e.tagName !== "ARTICLE" && (/auto|scroll/.test(overflow(e)) || scrolls(e.parentElement));
    const wide = [...inner.querySelectorAll("article *")].find(
      (e) => e.getClientRects().length && e.getBoundingClientRect().right > width + 1 && !scrolls(e.parentElement));
    if (root.scrollWidth > width || wide)
      faults.push(`${page} at ${width}: wider than the window: ${wide ? wide.outerHTML.slice(0, 80) : ""}`);
    for (const image of inner.images)
      if (image.complete && !image.naturalWidth && image.getClientRects().length)
        faults.push(`${page}: ${image.getAttribute("src")} is not shown`);
    for (const formula of inner.querySelectorAll("math"))
      if (formula.getClientRects().length && !formula.getBoundingClientRect().height)
        faults.push(`${page} at ${width}: a formula has no height: ${formula.textContent}`);
    for (const entry of frame.contentWindow.performance.getEntriesByType("resource"))
      if (new URL(entry.name).host !== location.host) faults.push(`${page}: loads ${entry.name}`);
    frame.remove();
    done();
  }, 30);
  document.body.append(frame);
});
(async () => {
  for (const page of pages) for (const width of widths) await load(page, width);
  document.getElementById("faults").textContent = JSON.stringify(faults);
  document.title = "finished";
})();
</script>"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a log."""

    def log_message(self, format: str, *args: object) -> None:
        """Leave the log out."""


def chromium(*arguments: str) -> str:
    """Run Chromium without a network but this machine's, and return what it prints."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        sys.exit("no Chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as profile:
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        options += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--hide-scrollbars"]
        return subprocess.run([program, *options, *arguments], capture_output=True, text=True, check=True).stdout


def main() -> int:
    """Print the faults of the site, and return 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site", type=Path)
    parser.add_argument("--pages", nargs="*", help="pages, such as faq.html (default: all)")
    parser.add_argument("--picture", type=Path, help="folder of pictures of the pages")
    options = parser.parse_args()
    pages = options.pages or sorted(
        path.relative_to(options.site).as_posix()
        for path in options.site.rglob("*.html")
        if "_static" not in path.parts
    )
    frames = FRAMES.replace("PAGES", json.dumps(pages)).replace("WIDTHS", json.dumps(WIDTHS))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "site"
        shutil.copytree(options.site, root)
        (root / "frames.html").write_text(frames, encoding="utf-8")
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(root)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        document = chromium("--virtual-time-budget=600000", "--dump-dom", f"{address}/frames.html")
        found = re.search(r'<pre id="faults">(.*?)</pre>', document, flags=re.DOTALL)
        if found is None or not found[1]:
            sys.exit("the pages were not all laid out in time")
        faults = json.loads(html.unescape(found[1]))
        for page in pages if options.picture else ():
            for width in WIDTHS:
                options.picture.mkdir(parents=True, exist_ok=True)
                picture = options.picture.resolve() / f"{page.replace('/', '_').removesuffix('.html')}-{width}.png"
                chromium(f"--window-size={width},1600", f"--screenshot={picture}", f"{address}/{page}")
        server.shutdown()
    print(*faults, sep="\n", end="\n" if faults else "")
    print(f"{len(pages)} pages at {len(WIDTHS)} widths")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
