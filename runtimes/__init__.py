"""Doing the work: a file or a folder a plugin; `colonies-run NAME` starts one."""
