"""Running processes as jobs of Slurm."""
