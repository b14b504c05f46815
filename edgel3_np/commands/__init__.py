"""The command line: every command in a module of its own, and the only code of the package that prints."""
