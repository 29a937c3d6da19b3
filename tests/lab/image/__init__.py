"""Stand-ins for the `postgres` images, put together from a wheel and this machine's programs: there is no image registry here."""
