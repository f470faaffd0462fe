"""Where a session's pictures and voice go besides its viewers: files, media servers (docs/outputs.md)."""

from streaming.outputs.output import Output, OutputError, Spec
from streaming.outputs.outputs import open_output

__all__ = ["Output", "OutputError", "Spec", "open_output"]
