"""Alerts: what the monitor and the verifications see, held until it is sure, told to people once, and told again when it is over.

Read in this order: `conditions` (what is told of), `reading` (what is known now), `judging` (which conditions hold),
`evaluation` (rows of alerts), `outbox` (what is to be sent), `sender`.
"""
