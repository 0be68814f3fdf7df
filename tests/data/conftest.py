"""Fixtures of the data sets: a server of downloads."""

import io
import urllib.request
from collections.abc import Callable

import pytest


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, bytes]], list[str]]:
    """A function that serves files by their names, and returns the list of the addresses that are opened."""

    def serve(files: dict[str, bytes]) -> list[str]:
        opened = []

        def open_(opener: object, request: urllib.request.Request, timeout: float) -> io.BytesIO:
            opened.append(request.full_url)
            name = request.full_url.rpartition("/")[2]
            if name not in files:
                raise OSError("Error\ndownloading")
            return io.BytesIO(files[name])

        monkeypatch.setattr(urllib.request.OpenerDirector, "open", open_)
        return opened

    return serve
