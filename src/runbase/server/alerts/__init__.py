"""Alerts: rules, which are evaluated when runs change, and the delivery of what they raise. Nothing here needs the HTTP framework."""
