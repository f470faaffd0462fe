"""Audio in, frames out. No sockets, no wall clock, no training; and nobody is told of it."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime 1.31 reports to its maker unless told not to
