"""Models on the Hugging Face hub, through its own client."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from forwardforward._utils.extras import import_extra
from forwardforward._utils.plugins import one_line
from forwardforward.saving.folder import CONFIG, WEIGHTS

__all__ = ["download", "is_hub_name", "upload"]


def is_hub_name(source: str) -> bool:
    """Return whether a string has the form of a model's name on the hub, ``user/name``."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", source) is not None


def download(name: str, revision: str | None) -> Path:
    """Return the folder in the hub's cache that contains a model, downloaded if it is not there.

    Args:
        name: Name on the hub, ``user/name``.
        revision: Branch, tag or commit; None for the newest.

    Raises:
        ImportError: If huggingface_hub is not installed.
        FileNotFoundError: If there is no such model, or it cannot be downloaded.
    """
    hub = _client()
    try:
        paths = [Path(hub.hf_hub_download(name, file, revision=revision)) for file in (CONFIG, WEIGHTS)]
    except Exception as error:  # of the client and of its HTTP library, which differ by version
        raise FileNotFoundError(
            f"{name!r} is neither a folder nor a model that can be downloaded from the Hugging Face hub: "
            f"{one_line(error)}"
        ) from error
    return paths[0].parent


def upload(folder: Path, name: str, private: bool, message: str) -> str:
    """Upload the files of a saved model, and return its address.

    Args:
        folder: The folder.
        name: Name on the hub, ``user/name``; the repository is made if it does not exist.
        private: Whether a new repository is private.
        message: Message of the commit.

    Raises:
        ImportError: If huggingface_hub is not installed.
        ConnectionError: If the hub refuses the upload, such as without a token.
    """
    hub = _client()
    try:
        api = hub.HfApi(library_name="forwardforward")
        address = str(api.create_repo(name, private=private, exist_ok=True))
        api.upload_folder(repo_id=name, folder_path=str(folder), commit_message=message)
    except Exception as error:
        raise ConnectionError(f"cannot upload the model {name!r} to the Hugging Face hub: {one_line(error)}") from error
    return address


def _client() -> Any:
    return import_extra("huggingface_hub", "the Hugging Face hub", "huggingface_hub")
