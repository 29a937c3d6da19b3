"""Real servers on one machine: each with its own address, host name, sshd and Docker engine, in namespaces. CONTRIBUTING.md tells of it.

Standard library only, so that `./pgreplica lab` needs nothing that is installed for the tests.
"""
