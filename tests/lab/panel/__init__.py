"""The panel in an engine of the lab, from the real Dockerfile and compose.yml: base images, a package index, and the way in."""
