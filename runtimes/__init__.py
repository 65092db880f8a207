"""Doing the work: one file a plugin; `colonies-run NAME` starts one."""
