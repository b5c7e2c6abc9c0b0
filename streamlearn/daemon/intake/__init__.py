"""Reading the sockets. Ordinary batches take the fast lane (`lane.py`), everything else the general way."""
