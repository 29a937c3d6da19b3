"""How the panel itself is brought up: its environment, its embedded database and broker, its processes.

Standard library only. `./pgreplica` imports it before the environment exists, and it supervises the rest of the
project, so it imports nothing of it.
"""
