"""Moving numbers between a session's own memory and the buffers of a batch, with a choice made on the device.

``kernel.cu`` does what ``reference`` says, for every row of a table in one launch.
"""
