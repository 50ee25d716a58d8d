"""nextoffer: which offer to make each customer next, and what the offers earned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nextoffer.notebook import Shop, fit, open

__version__ = "0.1.0"
__all__ = ["Shop", "__version__", "fit", "open"]


def __getattr__(name: str) -> Any:
    # Imported when first asked for: `import nextoffer`, and with it every command, stays quick.
    if name in ("Shop", "fit", "open"):
        import nextoffer.notebook

        return getattr(nextoffer.notebook, name)
    raise AttributeError(f"module 'nextoffer' has no attribute {name!r}")
