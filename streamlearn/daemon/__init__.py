"""The daemon: it accepts samples over ZeroMQ, journals them, lets the models learn them and answers queries.

``daemon.py`` builds all parts from one ``Context``. ``loop.py`` is the thread that owns the models, and
``lifecycle.py`` starts and ends the process. ``network`` has the sockets and what is sent on them,
``durability`` the way from an accepted record to a durable one, ``operations`` the other operations of the
protocol, ``limits`` the memory budget, and ``security`` keys and rights.
"""
