"""What the command line offers: one module a command, each with `run(argv)`. They join the rooms and hold no logic."""
