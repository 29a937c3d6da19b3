"""Where the panel keeps what is its own: keys, the embedded database and broker, sockets."""

from launcher.state import state_directory

__all__ = ["state_directory"]
