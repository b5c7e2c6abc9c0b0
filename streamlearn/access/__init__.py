"""Who may do what. The daemon checks keys by it, and the gateway tokens."""
