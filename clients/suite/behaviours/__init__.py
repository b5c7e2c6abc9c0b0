"""The behaviours, in the order of the table. Importing a module registers its behaviours."""

from clients.suite.behaviours import requests  # isort: skip
from clients.suite.behaviours import samples  # isort: skip
from clients.suite.behaviours import streams  # isort: skip
from clients.suite.behaviours import events  # isort: skip
from clients.suite.behaviours import connections  # isort: skip
from clients.suite.registry import BEHAVIOURS  # isort: skip

__all__ = ["BEHAVIOURS", "connections", "events", "requests", "samples", "streams"]
