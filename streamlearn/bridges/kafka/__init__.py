"""From Kafka to models: each message is learned once, numbered by its offset.

`settings` is the configuration. `intake` reads messages, `offsets` tracks which of them are durable, and
`bridge` is the loop. Payloads, models and delivery are shared with the MQTT bridge.
"""
