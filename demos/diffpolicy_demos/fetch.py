"""Brings one file from an http server, another file system or the disk, and takes up where the last try stopped.

Resuming is the standard library's urllib and one Range header; fsspec serves all other kinds of URL.
"""

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import fsspec
from rich.progress import Progress

from diffpolicy_demos.location import one_line

_BLOCK = 1 << 18
_TIMEOUT_S = 30


def fetch(source: str, target: Path, progress: Progress) -> bool:
    """Fetches a file; what an earlier try left at `target` is continued where the server can.

    Args:
        source: A URL, or the path of a file.
        target: Where the file goes; stays there when a transfer breaks off, to be continued.
        progress: Gets one bar, in bytes.

    Returns:
        Whether bytes of an earlier try are part of the file: if it proves damaged, a fresh try may mend it.

    Raises:
        OSError: No such file, no network, a refusal by the server, or a transfer that broke off; one line each.
    """
    if source.startswith(("http://", "https://")):
        try:
            return _fetch_http(source, target, progress)
        except urllib.error.HTTPError as error:
            raise OSError(f"{source}: the server says {error.code} {error.reason}; check the address") from error
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else one_line(error)
            raise OSError(
                f"{source}: cannot be fetched: {reason}; check the network and run it again, or name another source"
            ) from error
    try:
        with fsspec.open(source, "rb") as stream, target.open("wb") as sink:
            _copy(stream.read, sink, None, progress)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{source}: no such file") from error
    except (ImportError, ValueError) as error:  # a protocol that fsspec does not know or has no package for
        raise OSError(f"{source}: cannot be fetched: {one_line(error)}") from error
    return False


def _fetch_http(url: str, target: Path, progress: Progress) -> bool:
    have = target.stat().st_size if target.exists() else 0
    try:
        response = _request(url, have)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:  # "range not satisfiable": there is nothing after what we have
            raise
        if error.headers.get("Content-Range") == f"bytes */{have}":
            return True
        have, response = 0, _request(url, 0)
    if response.status == 206 and _range_start(response) != have:  # a confused server: its bytes fit nowhere
        response.close()
        have, response = 0, _request(url, 0)
    with response:
        if response.status != 206:  # the server does not know ranges and sends the whole file
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length and length.isdigit() else None
        with target.open("ab" if have else "wb") as sink:
            size = _copy(response.read, sink, total, progress, have)
    if total is not None and size < total:
        raise OSError(f"{url}: the transfer broke off at {size} of {total} bytes; run it again to continue")
    return have > 0


def _request(url: str, start: int) -> http.client.HTTPResponse:
    headers = {"User-Agent": "diffpolicy", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    response: http.client.HTTPResponse = urllib.request.urlopen(
        urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_S
    )
    return response


def _range_start(response: http.client.HTTPResponse) -> int | None:
    unit, _, span = (response.headers.get("Content-Range") or "").partition(" ")
    start = span.partition("-")[0]
    return int(start) if unit == "bytes" and start.isdigit() else None


def _copy(read: Callable[[int], bytes], sink: BinaryIO, total: int | None, progress: Progress, done: int = 0) -> int:
    """Copies to the end of a source; returns the bytes there are now, those of earlier tries included."""
    task = progress.add_task("downloading", total=total, completed=done)
    while block := read(_BLOCK):
        sink.write(block)
        done += len(block)
        progress.update(task, completed=done)
    return done
