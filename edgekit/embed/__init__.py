"""Packed models inside apps: the C decoder, and generators of app folders around it."""

from __future__ import annotations

from edgekit.embed.generate import EmbeddedTensor, EmbedReport, embed

__all__ = ["EmbedReport", "EmbeddedTensor", "embed"]
