"""The page at / in headless Chromium: it asks for the token, samples, and its link gives the same images again; names are only text.

Usage: python3 tools/bench/page.py [-o FOLDER]      (build first: swift build -c release; and: apt-get install chromium)
Writes screenshots at the width of a desktop and of a phone into FOLDER, to be looked at. Ends with a failed assertion otherwise.
"""

import argparse
import base64
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True

from adapterd import ROOT, Adapterd

TOKEN = "page-check-token-of-the-script"
HOSTILE = '<img src=x onerror="window.hit=1">\'"&amp;'


class Browser:
    """Chromium over its debugging pipe: file descriptors 3 and 4, messages ended by NUL."""

    def __init__(self):
        self.profile = tempfile.mkdtemp(prefix="difffit-page-")
        (inside_read, self.out), (self.into, inside_write) = os.pipe(), os.pipe()

        def place():
            # Via high numbers, so that neither end is overwritten before it is moved.
            high = os.dup2(inside_read, 103), os.dup2(inside_write, 104)
            os.dup2(high[0], 3), os.dup2(high[1], 4)

        self.process = subprocess.Popen(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe", f"--user-data-dir={self.profile}"],
            preexec_fn=place,  # noqa: PLW1509 (no thread has been started)
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(inside_read), os.close(inside_write)
        self.unread, self.number, self.requests, self.session = b"", 0, [], None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.send(f"{domain}.enable")

    def close(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)

    def message(self) -> dict:
        while b"\0" not in self.unread:
            more = os.read(self.into, 1 << 20)
            assert more, "Chromium ended"
            self.unread += more
        text, self.unread = self.unread.split(b"\0", 1)
        message = json.loads(text)
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(message["params"]["request"]["url"])
        assert message.get("method") != "Page.javascriptDialogOpening", "a name opened a dialog"
        return message

    def send(self, method: str, **parameters) -> dict:
        self.number += 1
        call = {"id": self.number, "method": method, "params": parameters} | ({"sessionId": self.session} if self.session else {})
        os.write(self.out, json.dumps(call).encode() + b"\0")
        while (message := self.message()).get("id") != self.number:
            pass
        assert "error" not in message, message
        return message["result"]

    def run(self, script: str):
        result = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, condition: str):
        """Until a condition of the page holds; a minute at most."""
        script = (
            "new Promise((done) => { let n = 0; const t = setInterval(() => "
            f"{{ if (({condition}) || ++n > 1200) {{ clearInterval(t); done(n <= 1200); }} }}, 50); }})"
        )
        assert self.run(script), f"never came: {condition}; the page says: {self.run('document.body.innerText')}"

    def size(self, width: int, height: int, is_phone: bool):
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if is_phone else 1, mobile=is_phone)

    def picture(self, path: Path):
        data = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))
        overflow = self.run("document.documentElement.scrollWidth - window.innerWidth")
        assert overflow <= 0, f"{path.name}: the page is {overflow} pixels wider than its window"


def renamed(source: Path, target: Path, old: str, new: str):
    """An adapter file whose class has another name."""
    data = source.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    manifest = json.loads(header["__metadata__"]["difffit"])
    manifest["classes"] = [new if name == old else name for name in manifest["classes"]]
    header["__metadata__"] = {"difffit": json.dumps(manifest)}
    text = json.dumps(header).encode()
    target.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def check(browser: Browser, server: Adapterd, address: str, folder: Path):
    exported = Path(server.folder, "flowers.safetensors")
    server.ctl("export", "flowers", "-o", str(exported))
    renamed(exported, Path(server.folder, "hostile.safetensors"), "rose", HOSTILE)
    server.ctl("add", "hostile", f"{server.folder}/hostile.safetensors")
    images = "[...document.querySelectorAll('figure.done img')].map((i) => i.src)"

    browser.size(1280, 900, False)
    browser.send("Page.navigate", url=address)
    browser.wait("document.readyState === 'complete' && !document.getElementById('door').hidden")
    browser.picture(folder / "door.png")
    browser.run(f"document.getElementById('token').value = {TOKEN!r}; document.getElementById('door').requestSubmit()")
    browser.wait("!document.getElementById('form').hidden && document.getElementById('known').options.length > 0")
    browser.run(
        "for (const [k, v] of Object.entries({domain: 'flowers', n: 6, steps: 30, seed: '18446744073709551615'})) {"
        "const e = document.getElementById(k); e.value = v; e.dispatchEvent(new Event('change')); } document.getElementById('known').value = 'rose';"
        "document.getElementById('form').requestSubmit()"
    )
    browser.wait("document.querySelectorAll('figure img').length > 0 && document.querySelectorAll('figure.done').length < 6")
    browser.wait("document.querySelectorAll('figure.done').length === 6 && !document.getElementById('facts').hidden")
    browser.picture(folder / "desktop.png")
    first = browser.run(images)
    assert len(set(first)) == 6
    browser.size(390, 844, True)
    browser.picture(folder / "phone.png")

    link = browser.run("document.getElementById('again').href")
    assert TOKEN not in link
    for again, count in ((link, 6), (browser.run("document.querySelectorAll('a[data-index]')[3].href"), 1)):
        browser.send("Page.navigate", url="about:blank")
        browser.send("Page.navigate", url=again)
        browser.wait(f"document.querySelectorAll('figure.done').length === {count} && !document.getElementById('facts').hidden")
        assert browser.run(images) == (first if count == 6 else first[3:4]), f"{again} gives other images"

    browser.size(1280, 900, False)
    browser.send("Page.navigate", url="about:blank")
    browser.send("Page.navigate", url=f"{address}#model=hostile&class={HOSTILE.replace('&', '%26').replace('<', '%3C').replace(' ', '%20')}&n=1&steps=4&seed=1")
    browser.wait("document.getElementById('known').options.length > 0 && document.getElementById('domain').value === 'hostile'")
    browser.wait("document.querySelectorAll('figure.done').length === 1")
    assert browser.run("window.hit") is None and browser.run("document.querySelectorAll('img:not(figure img)').length") == 0
    assert HOSTILE in browser.run("[...document.getElementById('known').options].map((o) => o.value)")
    check_speeds(browser, server, address, folder, images)
    outside = [url for url in browser.requests if not url.startswith((address, "data:", "blob:", "about:"))]
    assert not outside, outside


def check_speeds(browser: Browser, server: Adapterd, address: str, folder: Path, images: str):
    """With distilled vectors in the store the fewest rows are the page's usual way; what a vector demands is not asked for."""
    for vector in ("guide", "turbo4"):
        server.ctl("add", vector, f"{ROOT}/adapters/{vector}.safetensors")
    browser.send("Page.navigate", url="about:blank")
    browser.send("Page.navigate", url=address)
    browser.wait("!document.getElementById('form').hidden && document.getElementById('known').options.length > 0")
    assert browser.run("document.getElementById('speed').value") == "turbo4"
    assert not {"guide", "turbo4"} & set(browser.run("[...document.getElementById('domain').options].map((o) => o.value)"))
    made = {}
    for speed, steps_shown in (("turbo4", False), ("distilled", True), ("", True)):
        browser.run(
            f"for (const [k, v] of Object.entries({{domain: 'flowers', speed: '{speed}', n: 4, steps: 8, seed: '3'}})) {{"
            "const e = document.getElementById(k); e.value = v; e.dispatchEvent(new Event('change')); } document.getElementById('known').value = 'rose';"
            "document.getElementById('facts').hidden = true; document.getElementById('form').requestSubmit()"
        )
        browser.wait("document.querySelectorAll('figure.done').length === 4 && !document.getElementById('facts').hidden")
        assert browser.run("document.getElementById('steps').closest('label').offsetParent !== null") == steps_shown, speed
        made[speed] = browser.run(images)
        browser.picture(folder / f"speed-{speed or 'careful'}.png")
        link = browser.run("document.getElementById('again').href")
        browser.send("Page.navigate", url="about:blank")
        browser.send("Page.navigate", url=link)
        browser.wait("document.querySelectorAll('figure.done').length === 4 && !document.getElementById('facts').hidden")
        assert browser.run(images) == made[speed], f"{link} gives other images"
        browser.send("Page.navigate", url="about:blank")
        browser.send("Page.navigate", url=address)
        browser.wait("!document.getElementById('form').hidden && document.getElementById('known').options.length > 0")
    assert len({tuple(pictures) for pictures in made.values()}) == 3


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-o", "--output", type=Path, default=Path("out"))
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    if not shutil.which("chromium"):
        raise SystemExit("chromium is missing: apt-get install chromium")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.NamedTemporaryFile(mode="w") as token:
        token.write(TOKEN)
        token.flush()
        with Adapterd("--port", str(port), "--token-file", token.name) as server:
            browser = Browser()
            try:
                check(browser, server, f"http://127.0.0.1:{port}/", folder)
            finally:
                browser.close()
    print(f"the page works, and its links give the same images; look at desktop.png, phone.png and door.png in {folder}")


main()
