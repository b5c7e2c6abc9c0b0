"""Samples from collectors: line protocol (Telegraf) and remote write (Prometheus).

`lineprotocol` and `remote_write` decode a body into points. `rules` assigns each point to a model, a key and
channels. `joining` makes one sample of all values of one time. `delivery` has each sample learned once, in
the order of time. `collector` does these steps for one request.
"""
