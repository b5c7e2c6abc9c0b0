"""The shared behaviour suite of the clients. `README.md` describes it and the language of its drivers."""
