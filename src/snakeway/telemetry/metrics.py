"""What the server counts and measures. Importing this module imports OpenTelemetry's SDK; only the server does so."""

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Histogram, Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from prometheus_client import CONTENT_TYPE_LATEST as PROMETHEUS_TYPE
from prometheus_client import CollectorRegistry, generate_latest

from snakeway import __version__
from snakeway.telemetry import configured, names
from snakeway.telemetry.sender import resource

# Seconds, from a job that takes a moment to a run that takes a week.
TIME_BUCKETS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, *(3600.0 * hours for hours in (1, 4, 12, 24, 72, 168)))
CLOSE_S = 3.0

__all__ = ["PROMETHEUS_TYPE", "Metrics"]


class Metrics:
    """Counters and histograms of one server or supervisor process.

    They are read in two ways: `prometheus` is the page that a Prometheus server fetches, and if an OTLP endpoint is
    `configured` they are also sent there, by default every minute (OTEL_METRIC_EXPORT_INTERVAL).
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        readers: list[MetricReader] = [PrometheusMetricReader(scope_info_enabled=False, registry=self._registry)]
        if configured("METRICS"):
            readers.append(PeriodicExportingMetricReader(OTLPMetricExporter()))
        self._provider = MeterProvider(readers, resource(), shutdown_on_exit=False)
        meter = self._provider.get_meter(names.SCOPE, __version__)
        self._runs_active = meter.create_gauge(names.RUNS_ACTIVE, "{run}", "Runs whose snakemake is running")
        self._runs_ended = meter.create_counter(names.RUNS_ENDED, "{run}", "Runs that ended, by state")
        self._jobs_ended = meter.create_counter(names.JOBS_ENDED, "{job}", "Jobs that ended, by state and rule")
        self._run_queue_time = _seconds(meter, names.RUN_QUEUE_TIME, "From submission to the start of snakemake")
        self._run_duration = _seconds(meter, names.RUN_DURATION, "From the start of snakemake to its end")
        self._job_queue_time = _seconds(meter, names.JOB_QUEUE_TIME, "From submission to the start of the job")
        self._job_duration = _seconds(meter, names.JOB_DURATION, "From the start of the job to its end")

    def active_runs(self, count: int) -> None:
        """Set how many runs have a running snakemake."""
        self._runs_active.set(count)

    def run_ended(self, state: str, queue_s: float | None = None, run_s: float | None = None) -> None:
        """Count a run that reached the final ``state``; a time that is not known is left out."""
        labels = {names.METRIC_STATE: state}
        self._runs_ended.add(1, labels)
        _record(self._run_queue_time, queue_s, labels)
        _record(self._run_duration, run_s, labels)

    def job_ended(self, state: str, rule: str, queue_s: float | None = None, run_s: float | None = None) -> None:
        """Count a job that reached the final ``state``; a time that is not known is left out."""
        labels = {names.METRIC_STATE: state, names.METRIC_RULE: rule}
        self._jobs_ended.add(1, labels)
        _record(self._job_queue_time, queue_s, labels)
        _record(self._job_duration, run_s, labels)

    def prometheus(self) -> bytes:
        """The metrics in Prometheus' text format; its media type is `PROMETHEUS_TYPE`."""
        return generate_latest(self._registry)

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Send the last values, for at most ``timeout_s``, and stop."""
        self._provider.shutdown(timeout_s * 1000)


def _seconds(meter: Meter, name: str, description: str) -> Histogram:
    return meter.create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=TIME_BUCKETS)


def _record(histogram: Histogram, seconds: float | None, labels: dict[str, str]) -> None:
    if seconds is not None:
        histogram.record(max(0.0, seconds), labels)  # clocks of different hosts disagree
