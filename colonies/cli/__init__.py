"""Asking the hub from a shell: one group of commands a noun."""
