"""Put other people's machines to work."""

__version__ = "0.1.0"
