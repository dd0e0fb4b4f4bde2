"""Wiring: the command line, presets, training runs, evaluation records and reports."""
