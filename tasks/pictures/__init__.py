"""Pictures drawn on the server: geometry only. Standard library; no rows, no HTML, no words but those that are given."""
