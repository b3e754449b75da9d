"""AWS Batch: what it says of jobs (`service`, `details`), what they print (`logs`), why one failed (`diagnosis`)."""

from snakeway.targets.aws_batch.diagnosis import AwsBatchDiagnosis
from snakeway.targets.aws_batch.logs import AwsBatchLogs
from snakeway.targets.aws_batch.service import AwsBatchScheduler

__all__ = ["AwsBatchDiagnosis", "AwsBatchLogs", "AwsBatchScheduler"]
