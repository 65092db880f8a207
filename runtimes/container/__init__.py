"""Running processes in containers of podman, docker or apptainer."""
