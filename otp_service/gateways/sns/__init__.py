"""SNS: SMS through Amazon Simple Notification Service."""
