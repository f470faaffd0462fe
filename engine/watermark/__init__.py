"""The invisible watermark: which session made a picture, told by the picture itself. Marking and finding."""

from engine.watermark.code import Payload
from engine.watermark.detect import Detector, Verdict
from engine.watermark.mark import Mark

__all__ = ["Detector", "Mark", "Payload", "Verdict"]
