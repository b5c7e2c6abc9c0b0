"""What a call of `receiving.receive_batches` gets and returns beside the batches. Needs no Numba."""

from __future__ import annotations

# How a call of `receive_batches` ends.
WAITING = 0  # no further message has arrived, or `most` batches were received
OTHER_HEADER = 1  # a message has another header, or no arrays
OTHER_ARRAY = 2  # an array has another size, or another number of frames follows it
INTERRUPTED = 3  # ZeroMQ returned an error after the header of a message
OTHER_SENDER = 4  # a message has another sender; its header was not received
# The places in `outcome`: how it ended; the arrays of an incomplete batch that are in the arena; of the last
# header, the last array and the last sender: address, bytes, whether frames follow.
END, ARRAYS = 0, 1
HEADER_ADDRESS, HEADER_BYTES, HEADER_MORE = 2, 3, 4
ARRAY_ADDRESS, ARRAY_BYTES, ARRAY_MORE = 5, 6, 7
SENDER_ADDRESS, SENDER_BYTES, SENDER_MORE = 8, 9, 10
OUTCOME = 11
# Words of 8 bytes in `patience`: batches after which a call waits for further ones; how often it may wait;
# batches that it had when it waited last; address of the function ppoll; address of the next words: two
# struct pollfd and a struct timespec.
BURST, WAITS, WAITED_AT, PPOLL, DESCRIPTORS, POLLFDS, TIMEOUT = 0, 1, 2, 3, 4, 5, 7
PATIENCE = 9

NAME_BYTES = 64  # of a model
MESSAGE_BYTES = 64  # of a zmq_msg_t
