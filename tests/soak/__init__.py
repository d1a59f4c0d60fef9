"""Programs that run for minutes: `make soak`, and `make soak-sample` for the short form of each."""
