"""Download one file from an address, whole or not at all, and give up soon where there is no network."""

import os
import queue
import threading
import urllib.request
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from tqdm import tqdm

TIMEOUT = 5  # seconds of silence, of the server or of the network
CONNECT_TIMEOUT = 8  # seconds until the server answers; looking its name up knows no timeout
BLOCK = 1 << 16  # bytes
PROGRESS_AFTER_SECONDS = 3


def download(url: str, target: Path) -> None:
    """Write the file at an address to ``target``, with a progress bar when it takes a while.

    Proxies are taken from the environment.

    Parameters
    ----------
    url : str
        Address of the file (http, https).
    target : pathlib.Path
        Appears only when every byte has come.

    Raises
    ------
    OSError
        If the server cannot be reached, refuses, or falls silent.
    """
    partial = target.with_name(f"{target.name}.partial")
    try:
        with _open(url) as response, partial.open("wb") as file:
            _copy(response, file)
        os.replace(partial, target)
    except HTTPException as error:
        raise OSError(f"the server's answer is broken: {error!r}") from error
    finally:
        partial.unlink(missing_ok=True)


def _open(url: str) -> HTTPResponse:
    """Open an address in a thread of its own, so that the wait for it has an end."""
    answers: queue.Queue[HTTPResponse | Exception] = queue.Queue()
    request = urllib.request.Request(url, headers={"User-Agent": "course-utils"})

    def ask() -> None:
        try:
            answers.put(urllib.request.urlopen(request, timeout=TIMEOUT))
        except Exception as error:  # raised again where the answer is awaited
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=CONNECT_TIMEOUT)
    except queue.Empty:
        raise TimeoutError(f"no answer within {CONNECT_TIMEOUT} seconds") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _copy(response: HTTPResponse, file) -> None:
    """Copy the body of a response; refuse one that ends before its stated length."""
    size = int(response.headers.get("Content-Length", 0))
    done = 0
    with tqdm(
        total=size or None,
        desc="download",
        unit="B",
        unit_scale=True,
        delay=PROGRESS_AFTER_SECONDS,
        leave=False,
    ) as bar:
        while block := response.read(BLOCK):
            done += file.write(block)
            bar.update(len(block))
    if done < size:
        raise OSError(f"the connection ended after {done} of {size} bytes")
