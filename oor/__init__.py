"""oor: a durable, log-structured store for Python, made for orbital element sets."""

__version__ = "0.1.0"
