"""The protocol without sockets: messages, their frames, and the rules for names.

``docs/protocol.md`` describes the protocol.
"""

from streamlearn_client.protocol.batches import as_batch
from streamlearn_client.protocol.codec import (
    decode_reply,
    decode_request,
    encode_error,
    encode_replies,
    encode_reply,
    encode_request,
    peek_id,
)
from streamlearn_client.protocol.envelope import split_envelope
from streamlearn_client.protocol.events import decode_event, encode_event
from streamlearn_client.protocol.frames import check_channels, named_columns, named_samples
from streamlearn_client.protocol.identifiers import (
    Identifiers,
    IdentifiersLike,
    as_identifier,
    as_identifiers,
    identifier,
)
from streamlearn_client.protocol.messages import (
    ACK_LEVELS,
    DEFAULT_LIMITS,
    OPS,
    VERSION,
    AckLevel,
    AnsweredLevel,
    EventMessage,
    Frame,
    Id,
    Learn,
    Limits,
    Reply,
    Request,
    Samples,
)
from streamlearn_client.protocol.names import (
    EVENT_KINDS,
    GENERATED,
    SUBSCRIBED,
    EventKind,
    check_model,
    check_producer,
    generated_producer,
    producer_name,
    topic,
)
from streamlearn_client.protocol.precision import PrecisionMonitor, PrecisionWarning
from streamlearn_client.protocol.samples import (
    SamplesLike,
    as_float32,
    as_numbers,
    as_samples,
    as_targets,
    to_float32,
)
from streamlearn_client.protocol.times import NO_TIME, Times, TimesLike, as_times

__all__ = [
    "ACK_LEVELS",
    "DEFAULT_LIMITS",
    "EVENT_KINDS",
    "GENERATED",
    "NO_TIME",
    "OPS",
    "SUBSCRIBED",
    "VERSION",
    "AckLevel",
    "AnsweredLevel",
    "EventKind",
    "EventMessage",
    "Frame",
    "Id",
    "Identifiers",
    "IdentifiersLike",
    "Learn",
    "Limits",
    "PrecisionMonitor",
    "PrecisionWarning",
    "Reply",
    "Request",
    "Samples",
    "SamplesLike",
    "Times",
    "TimesLike",
    "as_batch",
    "as_float32",
    "as_identifier",
    "as_identifiers",
    "as_numbers",
    "as_samples",
    "as_targets",
    "as_times",
    "check_channels",
    "check_model",
    "check_producer",
    "decode_event",
    "decode_reply",
    "decode_request",
    "encode_error",
    "encode_event",
    "encode_replies",
    "encode_reply",
    "encode_request",
    "generated_producer",
    "identifier",
    "named_columns",
    "named_samples",
    "peek_id",
    "producer_name",
    "split_envelope",
    "to_float32",
    "topic",
]
