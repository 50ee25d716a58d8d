"""Files that appear whole or not at all, for their owner's eyes only."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from nextoffer.bundle.durable import sync
from nextoffer.errors import CampaignError


def write_atomically(path: Path, content: bytes) -> None:
    """Write a temporary file beside `path`, flush it to disk, and put it in place; never half a file.

    Raises
    ------
    CampaignError : the folder is missing or not writable, or the disk is full; what was there stays.
    """
    try:
        # Only its owner may read it: addresses are personal.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise _unwritable(path, error) from error
    temporary = Path(name)
    try:
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> CampaignError:
    reason = error.strerror or type(error).__name__
    return CampaignError(
        f"{path} cannot be written: {reason}. What was there is unchanged; mend it and export again."
    )
