"""What the management commands share: the same doors as page and API, results as text or JSON, exit codes that scripts can trust."""
