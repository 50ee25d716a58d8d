"""The contract of plug-ins, for their authors' tests: one call each, an AssertionError with one sentence on failure.

```python
from nextoffer.testing import check_channel, check_offer_kind, check_source


def test_my_kind() -> None:
    check_offer_kind(my_shop.gift_cards.candidates)
```

nextoffer's own kinds, sources and channels pass the same checks.
"""

from __future__ import annotations

from nextoffer.testing.channels import check_channel
from nextoffer.testing.kinds import check_offer_kind
from nextoffer.testing.shop import small_bundle
from nextoffer.testing.sources import check_source

__all__ = ["check_channel", "check_offer_kind", "check_source", "small_bundle"]
