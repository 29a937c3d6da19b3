"""The REST interface: thin routes over the services and selectors that pages and commands use too.

`pgreplica_admin.api` puts it together.
"""
