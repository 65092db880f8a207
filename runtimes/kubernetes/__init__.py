"""Running processes as Jobs of Kubernetes."""
