"""Generator networks of public systems, re-described from their layer shapes with random weights (extra ``train``)."""
