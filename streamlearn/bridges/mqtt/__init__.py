"""The bridge between an MQTT broker and a daemon.

A message moves in one direction: broker → ``topics`` and ``payloads`` (what it means) → ``numbering`` and
``delivery`` (to the daemon, each sample once) → ``acknowledgements`` (back to the broker, when it is
durable). Events of the daemon move in the other one: ``outgoing`` and ``discovery``.
"""
