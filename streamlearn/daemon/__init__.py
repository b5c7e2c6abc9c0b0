"""The daemon: it accepts samples over ZeroMQ, journals them, lets the models learn them and answers queries.

``daemon.py`` builds all parts from one ``Context``. ``loop.py`` is the thread that owns the models.
"""
