"""Reports as tables and documents; one file a verb."""
