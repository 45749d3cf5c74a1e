"""A headless Chromium for tests of pages: what a reader sees, does and hears of errors, in plain calls that wait.

It is driven by the DevTools protocol over two pipes, so a test needs no driver, no port and no event loop. Beside
tests, `python tests/browser.py PAGE.html PICTURE.png [WIDTH [HEIGHT [dark]]]` photographs a page for the eye.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # root may not use it; only our own pages are opened
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-extensions",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
_CODES = {"Space": 32, "PageUp": 33, "PageDown": 34, "End": 35, "Home": 36, "Tab": 9, "Enter": 13, "Escape": 27}
_CODES |= {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
_TEXT = {"Space": " ", "Enter": "\r"}


def find_chromium() -> str | None:
    """Where a Chromium is installed, or None."""
    return next((place for name in _NAMES if (place := shutil.which(name))), None)


class BrowserError(Exception):
    """The browser did not answer, or a script on the page threw."""


class Browser:
    """One Chromium with a profile of its own, ended with the `with` block.

    Args:
        timeout_s: After which an answer is no longer waited for.

    Raises:
        BrowserError: if no Chromium is installed or it does not start.
    """

    def __init__(self, timeout_s: float = 60.0) -> None:
        program = find_chromium()
        if program is None:
            raise BrowserError(f"none of {', '.join(_NAMES)} is on the PATH; install one: apt-get install chromium")
        self._timeout_s, self._last_id, self._rest = timeout_s, 0, b""
        self._pages: dict[str, Page] = {}
        self._profile = tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True)
        commands, self._out = os.pipe()
        self._in, answers = os.pipe()
        # Chromium reads its commands from descriptor 3 and answers on 4.
        script = f'exec "$@" 3<&{commands} 4>&{answers}'
        arguments = [*_FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", program, *arguments],
            pass_fds=(commands, answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(
        self,
        path: str | Path,
        *,
        width: int = 1000,
        height: int = 900,
        dark: bool = False,
        reduced_motion: bool = False,
        scale: float = 1.0,
    ) -> "Page":
        """Opens a file in a tab of its own and waits until it is loaded.

        Args:
            path: The HTML file.
            width: Of the view, CSS px.
            height: Likewise.
            dark: Whether the reader prefers dark pages.
            reduced_motion: Whether the reader prefers less motion.
            scale: Device pixels of one CSS px.
        """
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = self._pages[session] = Page(self, session)
        page.view(width, height, dark=dark, reduced_motion=reduced_motion, scale=scale)
        page.go(path)
        return page

    def call(self, method: str, params: dict[str, Any] | None = None, session: str | None = None) -> dict[str, Any]:
        """Sends one command of the DevTools protocol and returns its result; events on the way reach their pages.

        Raises:
            BrowserError: if the command is refused or not answered in time.
        """
        self._last_id += 1
        command: dict[str, Any] = {"id": self._last_id, "method": method, "params": params or {}}
        if session is not None:
            command["sessionId"] = session
        unsent = json.dumps(command).encode() + b"\0"
        try:
            while unsent:
                unsent = unsent[os.write(self._out, unsent) :]
        except BrokenPipeError:
            raise BrowserError(f"{method}: the browser has ended") from None
        while True:
            answer = self.read(method)
            if answer.get("id") == self._last_id:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def read(self, awaited: str) -> dict[str, Any]:
        """The next message; an event is handed to its page before.

        Raises:
            BrowserError: if none comes in time.
        """
        until = time.monotonic() + self._timeout_s
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(0.0, until - time.monotonic()))
            chunk = os.read(self._in, 1 << 20) if ready else b""
            if not chunk:
                why = "the browser has ended" if ready else f"no answer within {self._timeout_s:g} s"
                raise BrowserError(f"{awaited}: {why}")
            self._rest += chunk
        message, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        if "method" in found and found.get("sessionId") in self._pages:
            self._pages[found["sessionId"]].heard(found["method"], found["params"])
        return found

    def close_pages(self) -> None:
        """Closes all tabs that were opened."""
        while self._pages:
            session, _ = self._pages.popitem()
            self.call("Page.close", session=session)

    def close(self) -> None:
        """Ends the browser and removes its profile."""
        os.close(self._out)  # Chromium ends with its pipe
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        self._profile.cleanup()


class Page:
    """A tab: made by `Browser.open`."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session
        self._errors: list[str] = []
        self._requests: list[str] = []
        self._loads = 0
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._call(f"{domain}.enable")

    def go(self, path: str | Path) -> None:
        """Loads another file into this tab and waits until it is drawn."""
        loads, self._url = self._loads, Path(path).resolve().as_uri()
        failure = self._call("Page.navigate", {"url": self._url}).get("errorText")
        if failure:
            raise BrowserError(f"{path}: {failure}")
        while self._loads == loads:
            self._browser.read(f"{path}: loading")
        self._settle()

    def view(
        self, width: int, height: int, *, dark: bool = False, reduced_motion: bool = False, scale: float = 1.0
    ) -> None:
        """Sets the size of the view in CSS px, and what the reader prefers; see `Browser.open`."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", metrics)
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if reduced_motion else "no-preference"},
        ]
        self._call("Emulation.setEmulatedMedia", {"features": features})

    def evaluate(self, js: str) -> Any:
        """The value of an expression on the page, as plain data; a promise is awaited.

        Raises:
            BrowserError: if it throws.
        """
        answer = self._call("Runtime.evaluate", {"expression": js, "awaitPromise": True, "returnByValue": True})
        if "exceptionDetails" in answer:
            raise BrowserError(f"{js}: {_spoken(answer['exceptionDetails'])}")
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Presses and releases a key, named as in JavaScript's `code`: ArrowRight, Space, Home, Tab, Enter ..."""
        words = {"code": key, "key": _TEXT.get(key, key), "windowsVirtualKeyCode": _CODES[key]}
        text = {"text": _TEXT[key]} if key in _TEXT else {}
        self._call("Input.dispatchKeyEvent", {"type": "keyDown", **words, **text})
        self._call("Input.dispatchKeyEvent", {"type": "keyUp", **words})

    def point(self, x: float, y: float, *, click: bool = False) -> None:
        """Moves the mouse to a place of the view, CSS px, and clicks there if told."""
        place = {"x": x, "y": y, "button": "left", "clickCount": 1}
        self._call("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": x, "y": y})
        for kind in ("mousePressed", "mouseReleased") if click else ():
            self._call("Input.dispatchMouseEvent", {"type": kind, **place})

    def screenshot(
        self,
        path: str | Path,
        *,
        width: int | None = None,
        height: int | None = None,
        dark: bool = False,
        scale: float = 1.0,
        whole: bool = False,
    ) -> None:
        """Writes a PNG of the view, or of the whole page; a width and height change the view first (see `view`)."""
        if width is not None and height is not None:
            self.view(width, height, dark=dark, scale=scale)
        self._settle()
        wanted = {"format": "png", "captureBeyondViewport": whole}
        Path(path).write_bytes(base64.b64decode(self._call("Page.captureScreenshot", wanted)["data"]))

    @property
    def console_errors(self) -> list[str]:
        """What went wrong on the page so far: uncaught exceptions, errors on the console, things that did not load."""
        self.evaluate("0")  # what happened before has been heard when this is answered
        return list(self._errors)

    @property
    def requests(self) -> list[str]:
        """Addresses that the page asked for, beside its own file and data inside it."""
        self.evaluate("0")
        return [url for url in self._requests if url != self._url and not url.startswith(("data:", "blob:"))]

    def heard(self, event: str, params: dict[str, Any]) -> None:
        """Takes note of an event; called by the browser."""
        if event == "Page.loadEventFired":
            self._loads += 1
        elif event == "Network.requestWillBeSent":
            self._requests.append(params["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self._errors.append(_spoken(params["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self._errors.append(" ".join(str(word.get("value", word.get("description"))) for word in params["args"]))
        elif event == "Log.entryAdded" and params["entry"]["level"] == "error":
            self._errors.append(params["entry"]["text"])

    def _settle(self) -> None:
        # Two frames: one to lay out and draw, one to show it.
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def _call(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._browser.call(method, params, self._session)


def _spoken(details: dict[str, Any]) -> str:
    return details.get("exception", {}).get("description") or details["text"]


def _main(page: str, picture: str, width: str = "1000", height: str = "900", light: str = "light") -> None:
    with Browser() as browser:
        opened = browser.open(page, width=int(width), height=int(height), dark=light == "dark")
        opened.screenshot(picture)
        for error in opened.console_errors:
            print(error, file=sys.stderr)


if __name__ == "__main__":
    _main(*sys.argv[1:])
