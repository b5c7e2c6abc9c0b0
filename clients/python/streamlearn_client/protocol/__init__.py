"""The protocol: messages as values, their frames, and the rules for names. `docs/protocol.md` in code."""

from streamlearn_client.protocol.codec import (
    decode_event,
    decode_reply,
    decode_request,
    encode_error,
    encode_event,
    encode_reply,
    encode_request,
    peek_id,
    split_envelope,
)
from streamlearn_client.protocol.identifiers import Identifiers, as_identifiers, identifier
from streamlearn_client.protocol.messages import (
    ACK_LEVELS,
    DEFAULT_LIMITS,
    OPS,
    VERSION,
    EventMessage,
    Frame,
    Id,
    Learn,
    Limits,
    Reply,
    Request,
    Samples,
)
from streamlearn_client.protocol.names import EVENT_KINDS, check_model, check_producer, topic
from streamlearn_client.protocol.samples import as_float32, as_samples, as_targets

__all__ = [
    "ACK_LEVELS",
    "DEFAULT_LIMITS",
    "EVENT_KINDS",
    "OPS",
    "VERSION",
    "EventMessage",
    "Frame",
    "Id",
    "Identifiers",
    "Learn",
    "Limits",
    "Reply",
    "Request",
    "Samples",
    "as_float32",
    "as_identifiers",
    "as_samples",
    "as_targets",
    "check_model",
    "check_producer",
    "decode_event",
    "decode_reply",
    "decode_request",
    "encode_error",
    "encode_event",
    "encode_reply",
    "encode_request",
    "identifier",
    "peek_id",
    "split_envelope",
    "topic",
]
