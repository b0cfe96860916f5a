"""Packed models inside apps: the C decoder, and generators of app folders around it."""

from __future__ import annotations

from edgekit.embed.app import EmbeddedTensor, OutputType
from edgekit.embed.generate import EmbedReport, embed

__all__ = ["EmbedReport", "EmbeddedTensor", "OutputType", "embed"]
