"""Snakemake logger plugin ``snakeway``: writes what happens as events (`snakeway.wire`) and OpenTelemetry spans.

``snakemake --logger snakeway``, or ``logger: [snakeway]`` in a profile. Whatever goes wrong here is said once on
stderr and never fails or delays the workflow. Every snakemake start imports this package, also where it is installed
but not used, so it imports the standard library and Snakemake's interface only; OpenTelemetry comes when it is needed.
"""

from snakemake_logger_plugin_snakeway.handler import LogHandler

__all__ = ["LogHandler"]
