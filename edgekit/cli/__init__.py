"""The command line: one typer command a file, each a thin front of one public function."""
