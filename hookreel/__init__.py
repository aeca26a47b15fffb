"""hookreel: record real webhook and API traffic, make it safe, replay it exactly, compare."""

__version__ = "0.1.0"
