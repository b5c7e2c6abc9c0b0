"""The sockets, and what is sent on them: replies and events."""
