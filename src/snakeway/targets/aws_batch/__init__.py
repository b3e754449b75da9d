"""AWS Batch: what it says of jobs (`service`, `details`), and why a job failed (`diagnosis`)."""

from snakeway.targets.aws_batch.diagnosis import AwsBatchDiagnosis
from snakeway.targets.aws_batch.service import AwsBatchScheduler

__all__ = ["AwsBatchDiagnosis", "AwsBatchScheduler"]
