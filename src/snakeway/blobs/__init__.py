"""Object storage: files of any size under keys, in a folder or in a service that speaks S3.

`base.Blobs` is the interface. The backends are imported by those who make them, since what S3 needs is large.
"""

from snakeway.blobs.base import Blob, Blobs, Chunks, Data, Written
from snakeway.blobs.storages import Storages

__all__ = ["Blob", "Blobs", "Chunks", "Data", "Storages", "Written"]
