"""The life that plugins for queue systems share: a job an attempt, which outlives its runtime."""
