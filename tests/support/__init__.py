"""Real servers and small tools which the tests need: a database, a telemetry receiver, a git server."""
