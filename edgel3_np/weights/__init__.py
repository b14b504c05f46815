"""From weight files to arrays: nothing in a file is trusted."""
