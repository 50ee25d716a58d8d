"""nextoffer: which offer to make each customer next, and what the offers earned."""

__version__ = "0.1.0"
