"""Models, data and pictures of the report; importing this package does nothing else."""
