"""The operations of the protocol, except `learn`."""
