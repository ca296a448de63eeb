"""The verbs of the command line, one file each. Heavy imports happen inside the functions, so `--help` is quick."""
