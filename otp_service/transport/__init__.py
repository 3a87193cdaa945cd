"""What gateways and policies share: how their kinds are found, and how they speak HTTP to the outside."""
