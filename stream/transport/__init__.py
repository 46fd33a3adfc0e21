"""How stages are joined: frames in shared memory, small headers over ZeroMQ, credits.

Nothing here knows what a stage does with a frame; nothing outside (but the sinks that publish)
knows that ZeroMQ is used.
"""

from stream.transport.control import Control, Halted, Hub
from stream.transport.link import Exchange, Inbox, Outbox
from stream.transport.place import Keys, Place
from stream.transport.ring import Ring
from stream.transport.store import InlineStore, LocalStore, Store, StoreError

__all__ = [
    "Control",
    "Exchange",
    "Halted",
    "Hub",
    "Inbox",
    "InlineStore",
    "Keys",
    "LocalStore",
    "Outbox",
    "Place",
    "Ring",
    "Store",
    "StoreError",
]
