"""Talking to a run while it goes on: other texts, prompts by hand."""

from stream.remote.book import QuestionBook
from stream.remote.client import DEFAULT_ENDPOINT, Client
from stream.remote.door import Door
from stream.remote.requests import Reply, Request

__all__ = ["DEFAULT_ENDPOINT", "Client", "Door", "QuestionBook", "Reply", "Request"]
