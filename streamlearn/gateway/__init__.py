"""The gateway: HTTP, events, metrics and the web page.

It is a process of its own and an ordinary client of the daemon. It keeps no state that matters, so it may be
stopped and started at any time, without effect on the daemon.
"""
