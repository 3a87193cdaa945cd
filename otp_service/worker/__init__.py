"""The delivery edge: takes messages out of the outbox and hands them to gateways."""
