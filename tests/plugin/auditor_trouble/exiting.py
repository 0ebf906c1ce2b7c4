"""An optimizer whose module ends the process that reads it."""

raise SystemExit("no licence found")
