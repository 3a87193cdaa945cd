"""Take receipts that gateways hand in by the provider's reference, over connections of their own."""

from otp_service.gateways.base import Receipt


class Desk:
    """The desk of one gateway."""

    def __init__(self, gateway: str) -> None:
        self._gateway = gateway

    def hand_in(self, references: tuple[str, ...], receipt: Receipt) -> None:
        """Record a receipt for the dispatch that was accepted under one of the references."""
