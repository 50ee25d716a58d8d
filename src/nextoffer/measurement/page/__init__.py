"""The measurement as one HTML file that needs nothing else: no script, no network, no font."""

from nextoffer.measurement.page.whole import MOST_BYTES, page

__all__ = ["MOST_BYTES", "page"]
