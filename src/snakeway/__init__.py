"""Snakeway runs Snakemake workflows for people."""

__version__ = "0.1.0"
