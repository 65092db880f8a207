"""The hub: where messages arrive and where state is kept."""
