"""A local GoEasy for tests and demos: real HTTP, strict where the documentation is strict, faulty on request."""

from moderation.goeasy.sandbox.behaviour import Behaviour
from moderation.goeasy.sandbox.server import Sandbox

__all__ = ["Behaviour", "Sandbox"]
