"""Benchmarks on other machines, reached through the system's own ssh."""
