"""A made-up shop from end to end: history, training, offers, a campaign, the API, and what the offers earned.

town.py     the shop itself: its files, its configuration, and the weeks that follow
site.py     the API, served for a moment
teller.py   how the story looks on a terminal
story.py    the story, step by step
proof.py    its end: the weeks under the offers, and what they earned
"""

from nextoffer.demo.story import run_demo

__all__ = ["run_demo"]
