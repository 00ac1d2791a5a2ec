"""The newest metadata that this broker acts on, for handlers to read and to wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from metadata.image import EMPTY_IMAGE, MetadataImage


class MetadataCache:
    """Holds one image; replaced as a whole, after the replicas have become what it says."""

    def __init__(self) -> None:
        self.image: MetadataImage = EMPTY_IMAGE
        self._changed = asyncio.Event()

    def publish(self, image: MetadataImage) -> None:
        """Make `image` the one that clients are told of."""
        self.image = image
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def wait_until(self, satisfied: Callable[[MetadataImage], bool], timeout: float) -> bool:
        """Wait for an image that satisfies; False if none came within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                while not satisfied(self.image):
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True
