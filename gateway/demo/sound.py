"""Generate the demo shop's music, so that no file has to be shipped."""

from __future__ import annotations

import io
import math
import wave
from functools import cache

RATE = 8000  # samples a second
SECONDS = 12
BEAT = 0.5
NOTES = (220.0, 277.18, 329.63, 369.99, 440.0, 369.99, 329.63, 277.18)  # hertz


@cache
def morning() -> bytes:
    """Return a WAV file of slow plucked notes that overlap."""
    samples = bytearray()
    for at in range(RATE * SECONDS):
        beat, since = divmod(at / RATE, BEAT)
        note = NOTES[int(beat) * 3 % len(NOTES)]
        swing = math.sin(math.tau * note * since) + 0.3 * math.sin(2 * math.tau * note * since)
        samples.append(128 + int(64 * swing * math.exp(-5 * since)))
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 1, RATE, 0, "NONE", ""))
        sound.writeframes(samples)
    return file.getvalue()
