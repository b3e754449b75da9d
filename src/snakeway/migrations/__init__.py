"""Schema versions, oldest first in versions/; applied by ``snakeway migrate``."""
